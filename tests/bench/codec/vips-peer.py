"""libvips without sharp as the benchmark sees it: answers requests on its standard input, one thread.

    encode <mode> <quality> <repetitions> <input> <output>  ->  <CPU nanoseconds> <bytes>
"""
import os
import sys
import time

os.environ['VIPS_CONCURRENCY'] = '1'
import pyvips  # noqa: E402, it reads the environment

pyvips.cache_set_max(0)
for line in sys.stdin:
    _, _, quality, repetitions, source, output = line.rstrip('\n').split('\t')
    with open(source, 'rb') as file:
        data = file.read()
    start = time.process_time_ns()
    for _ in range(int(repetitions)):
        image = pyvips.Image.new_from_buffer(data, '', access='sequential')
        result = image.jpegsave_buffer(Q=int(quality), optimize_coding=True, keep='icc')
    spent = time.process_time_ns() - start
    with open(output, 'wb') as file:
        file.write(result)
    print(spent // int(repetitions), len(result), sep='\t', flush=True)
