"""The API server of kubectl's context, spoken to directly: nothing but the standard library, one connection a thread."""
import base64
import http.client
import json
import os
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

BATCHES = '/apis/imagebatch.io/v1alpha1/namespaces/{}/imagebatches'
JOBS = '/apis/batch/v1/namespaces/{}/jobs'
# Clients that create at the same time.
CLIENTS = 16


def kubectl(*arguments, **options):
    return subprocess.run(['kubectl', *arguments], check=True, stdout=subprocess.PIPE, text=True, **options).stdout


class Cluster:
    def __init__(self):
        config = json.loads(kubectl('config', 'view', '--raw', '--minify', '--flatten', '-o', 'json'))
        server, user = config['clusters'][0]['cluster'], config['users'][0]['user']
        self.address = urllib.parse.urlsplit(server['server']).netloc
        self.context = ssl.create_default_context(cadata=base64.b64decode(server['certificate-authority-data']).decode())
        with tempfile.NamedTemporaryFile() as file:
            file.write(base64.b64decode(user['client-certificate-data']) + base64.b64decode(user['client-key-data']))
            file.flush()
            self.context.load_cert_chain(file.name)
        self.local = threading.local()

    def request(self, method, path, body=None, expected=(200, 201)):
        if not hasattr(self.local, 'connection'):
            self.local.connection = http.client.HTTPSConnection(self.address, context=self.context, timeout=60)
        kind = 'application/merge-patch+json' if method == 'PATCH' else 'application/json'
        sent = method, path, json.dumps(body) if body else None, {'Content-Type': kind}
        self.local.connection.request(*sent)
        try:
            answer = self.local.connection.getresponse()
        except http.client.RemoteDisconnected:
            # The server had closed the idle connection.
            self.local.connection.request(*sent)
            answer = self.local.connection.getresponse()
        text = answer.read()
        if answer.status not in expected:
            raise RuntimeError(f'{method} {path}: {answer.status} {text[:500]}')
        return json.loads(text)

    def all(self, path):
        """Yields every object, a page at a time."""
        token = ''
        while token is not None:
            page = self.request('GET', f'{path}?limit=500&continue={urllib.parse.quote(token)}')
            yield from page['items']
            token = page['metadata'].get('continue') or None

    def create_all(self, path, objects):
        """Creates objects at once; returns when each was asked for, by name."""
        asked = {}

        def create(thing):
            asked[thing['metadata']['name']] = time.monotonic()
            self.request('POST', path, thing)

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(create, objects))
        return asked


class Watch(threading.Thread):
    """Follows objects; knows when each was first seen, and when it first fulfilled each of the conditions."""

    def __init__(self, cluster, path, conditions):
        super().__init__(daemon=True)
        self.cluster, self.path, self.conditions = cluster, path, conditions
        self.met = {name: {} for name in conditions}
        self.changed = threading.Condition()
        self.version = cluster.request('GET', f'{path}?limit=1')['metadata']['resourceVersion']
        self.start()

    def run(self):
        while True:
            try:
                self.follow()
            except ConnectionError:
                # The servers have ended; who waits for more than was seen by then is told so.
                return

    def follow(self):
        """Until the server ends the watch, as it does with one that falls behind; the next goes on from there."""
        connection = http.client.HTTPSConnection(self.cluster.address, context=self.cluster.context)
        connection.request('GET', f'{self.path}?watch=true&timeoutSeconds=3600&resourceVersion={self.version}')
        for line in connection.getresponse():
            now, event = time.monotonic(), json.loads(line)
            if event['type'] == 'ERROR':
                raise RuntimeError(line)
            thing = event['object']
            self.version = thing['metadata']['resourceVersion']
            with self.changed:
                for name, condition in self.conditions.items():
                    if event['type'] != 'DELETED' and condition(thing):
                        self.met[name].setdefault(thing['metadata']['name'], now)
                self.changed.notify_all()

    def wait(self, condition, count, seconds=600):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.met[condition]) >= count, seconds):
                raise RuntimeError(f'{len(self.met[condition])} of {count} are {condition} after {seconds} s')
        return self.met[condition]


def state(batch):
    """The reason of the condition Succeeded."""
    conditions = batch.get('status', {}).get('conditions', [])
    return next((it['reason'] for it in conditions if it['type'] == 'Succeeded'), None)


def is_finished(batch):
    conditions = batch.get('status', {}).get('conditions', [])
    return any(it['type'] == 'Finished' and it['status'] == 'True' for it in conditions)


def is_running(job):
    return job.get('status', {}).get('ready', 0) > 0


def is_complete(job):
    return any(it['type'] == 'Complete' and it['status'] == 'True' for it in job.get('status', {}).get('conditions', []))


def etcd(path, body):
    """A request to the API server's database."""
    url = urllib.parse.urlsplit(os.environ['BENCH_ETCD'])
    connection = http.client.HTTPConnection(url.netloc, timeout=60)
    connection.request('POST', f'/v3/kv/{path}', json.dumps(body))
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f'etcd: {answer.status} {text[:500]}')
    return json.loads(text)


def encoded(text):
    return base64.b64encode(text.encode()).decode()
