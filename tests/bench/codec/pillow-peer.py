"""Pillow as the benchmark sees it: answers requests on its standard input.

    encode <mode> <quality> <repetitions> <input> <output>  ->  <CPU nanoseconds> <bytes>
"""
import io
import sys
import time

from PIL import Image

for line in sys.stdin:
    _, _, quality, repetitions, source, output = line.rstrip('\n').split('\t')
    with open(source, 'rb') as file:
        data = file.read()
    start = time.process_time_ns()
    for _ in range(int(repetitions)):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(data)).convert('RGB').save(buffer, 'JPEG', quality=int(quality))
    spent = time.process_time_ns() - start
    with open(output, 'wb') as file:
        file.write(buffer.getvalue())
    print(spent // int(repetitions), buffer.tell(), sep='\t', flush=True)
