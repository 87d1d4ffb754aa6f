"""The contestants, what they work on and how they are measured."""
import glob
import json
import os
import subprocess
import sys
import time
import uuid

import boto3

HERE = os.path.dirname(os.path.abspath(__file__))
# A batch of this size has so many shards; each of them has the corpus once.
SHARDS = 64
IMAGES_PER_ROW = 3
HEADER = 'S. No.,Product Name,Input Image Urls\n'


class Bench:
    """The batch that all work on, the origin, and the bucket where the results are."""

    def __init__(self, options, cache, folder):
        self.options, self.cache, self.folder, self.copies = options, cache, folder, 0
        self.prefix, self.uid = f'pipeline-{uuid.uuid4().hex[:8]}', str(uuid.uuid4())
        corpus = sorted(glob.glob(os.path.join(cache, 'corpus', '*-*.jpg')))
        count = min(options.rows, len(corpus) // IMAGES_PER_ROW) * IMAGES_PER_ROW
        self.images = [corpus[at * len(corpus) // count] for at in range(count)]
        others = os.sched_getaffinity(0) - {options.cpu} or {options.cpu}
        self.origin = subprocess.Popen(
            ['taskset', '-c', ','.join(map(str, others)), 'node', os.path.join(HERE, 'origin.mjs'),
             os.path.join(cache, 'corpus'), folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f'http://127.0.0.1:{int(self.origin.stdout.readline())}'
        self.bucket = boto3.resource(
            's3', endpoint_url=os.environ['IMAGEBATCH_S3_ENDPOINT'], region_name='us-east-1',
            aws_access_key_id=os.environ['IMAGEBATCH_S3_ACCESS_KEY_ID'],
            aws_secret_access_key=os.environ['IMAGEBATCH_S3_SECRET_ACCESS_KEY'],
        ).Bucket(os.environ['IMAGEBATCH_STORAGE_BUCKET'])
        self.write_csv('batch', range(SHARDS), self.images)
        self.compressor('ingest', self.uid, 'batch')

    def write_csv(self, name, copies, images):
        """Writes the rows of shards; an image's URL says which shard it is of."""
        with open(os.path.join(self.folder, f'{name}.csv'), 'w') as file:
            file.write(HEADER)
            for copy in copies:
                urls = [f'{self.url}/{os.path.basename(path)[:-4]}-{copy}.jpg' for path in images]
                for at in range(0, len(urls), IMAGES_PER_ROW):
                    file.write(f'{copy}.{at},Product {at},"{",".join(urls[at:at + IMAGES_PER_ROW])}"\n')

    def measure(self, *command, **variables):
        """Runs a process on the contestants' CPU and returns its seconds and those of the CPU, its children's too."""
        log = os.path.join(self.folder, 'log')
        start = time.monotonic()
        with open(log, 'w') as output:
            process = subprocess.Popen(['taskset', '-c', str(self.options.cpu), *command], stdout=output,
                                       stderr=output, env={**os.environ, **variables})
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        if status != 0:
            sys.exit(f'{command[:3]} failed:\n{open(log).read()[-2000:]}')
        return {'seconds': seconds, 'cpu': usage.ru_utime + usage.ru_stime, 'user': usage.ru_utime}

    def compressor(self, stage, uid, name, *arguments, effort='Small'):
        stage_input = {
            'uid': uid, 'name': 'bench', 'namespace': 'default', 'source': {'url': f'{self.url}/{name}.csv'},
            'compression': {'quality': self.options.quality, 'effort': effort}, 'unprocessedBecause': 'ShardFailed'}
        profiled = self.options.profile and stage == 'compress'
        recorder = ['perf', 'record', '-F', '1999', '-o', self.options.profile] if profiled else []
        return self.measure(
            *recorder, self.options.compressor, stage, *arguments,
            IMAGEBATCH_STAGE_INPUT=json.dumps(stage_input), IMAGEBATCH_STORAGE_PREFIX=f'{self.prefix}/ours',
            IMAGEBATCH_MONGODB_DATABASE='bench', IMAGEBATCH_PUBLIC_BASE_URL='https://cdn.example',
            IMAGEBATCH_EGRESS_ALLOW_CIDRS='127.0.0.1/32', IMAGEBATCH_EGRESS_ALLOW_PORTS=self.url.split(':')[-1],
            IMAGEBATCH_CODEC_THREADS='1', IMAGEBATCH_LOG='warn')

    def ours(self, effort):
        def work(copy, images):
            if len(images) > 1:
                return self.compressor('compress', self.uid, 'batch', '--index', str(copy), effort=effort)
            uid, name = str(uuid.uuid4()), f'start-{copy}'
            self.write_csv(name, [copy], images)
            self.compressor('ingest', uid, name)
            return self.compressor('compress', uid, name, '--index', '0', effort=effort)
        return work

    def script(self, *command):
        def work(copy, images):
            self.write_csv('input', [copy], images)
            words = {'INPUT': os.path.join(self.folder, 'input.csv'), 'OUTPUT': os.path.join(self.folder, 'output.csv'),
                     'PREFIX': f'{self.prefix}/scripts', 'QUALITY': str(self.options.quality)}
            return self.measure(*(words.get(word, word) for word in command))
        return work

    def node(self, mode, concurrency):
        return self.script('node', os.path.join(HERE, 'sharp-worker.mjs'), os.path.join(self.cache, 'node'), 'INPUT',
                           'OUTPUT', 'PREFIX', 'QUALITY', mode, str(concurrency))

    def python(self, mode, concurrency):
        return self.script(sys.executable, os.path.join(HERE, 'pillow-worker.py'), 'INPUT', 'OUTPUT', 'PREFIX',
                           'QUALITY', mode, str(concurrency))

    def turn(self, work, images):
        """Lets a contestant work on a shard of its own, and counts what it stored."""
        copy, self.copies = self.copies, self.copies + 1
        spent = work(copy, images)
        objects = self.bucket.objects.filter(Prefix=self.prefix + '/')
        stored = [it.size for it in objects if it.key.endswith(f'-{copy}.jpg')]
        if len(stored) != len(images):
            sys.exit(f'{len(stored)} of {len(images)} images are stored')
        return {**spent, 'bytes': sum(stored)}

    def codec(self, effort):
        """Returns what the codec alone needs, for the same files."""
        output = os.path.join(self.folder, 'codec')
        spent = self.measure(self.options.compressor, 'compress-file', '--quality', str(self.options.quality),
                             '--effort', effort, '--output', output, *self.images)
        return {**spent, 'bytes': sum(os.path.getsize(os.path.join(output, name)) for name in os.listdir(output))}

    def peer_codec(self, mode, *command):
        """The same for a peer's codec, as the codec's benchmark runs it; its start is not counted."""
        output = os.path.join(self.folder, 'peer.jpg')
        asked = ''.join(f'encode\t{mode}\t{self.options.quality}\t1\t{path}\t{output}\n' for path in self.images)
        start = time.monotonic()
        answers = subprocess.run(['taskset', '-c', str(self.options.cpu), *command], input=asked, text=True, check=True,
                                 stdout=subprocess.PIPE).stdout.split()
        return {'seconds': time.monotonic() - start, 'cpu': sum(map(int, answers[::2])) / 1e9,
                'bytes': sum(map(int, answers[1::2]))}

    def end(self):
        self.bucket.objects.filter(Prefix=self.prefix + '/').delete()
        self.origin.stdin.close()
        self.origin.wait()
