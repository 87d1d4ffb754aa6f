"""caesiumclt as the benchmark sees it. It is a program of its own, so its start is measured with a
picture of eight by eight and subtracted.

    encode <mode> <quality> <repetitions> <input> <output>  ->  <CPU nanoseconds> <bytes>
"""
import os
import resource
import shutil
import subprocess
import sys
import tempfile

program, tiny = sys.argv[1:]


def run(source, quality, folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [program, '--quality', quality, '--threads', '1', '--quiet', '--output', folder, source]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


with tempfile.TemporaryDirectory() as folder:
    start = min(run(tiny, '50', folder) for _ in range(5))
    for line in sys.stdin:
        _, _, quality, repetitions, source, output = line.rstrip('\n').split('\t')
        spent = min(run(source, quality, folder) for _ in range(int(repetitions)))
        shutil.copy(os.path.join(folder, os.path.basename(source)), output)
        print(int(max(0, spent - start) * 1e9), os.path.getsize(output), sep='\t', flush=True)
