"""The controller as a process: what it costs, and what it says of itself."""
import calendar
import json
import os
import subprocess
import time

TICKS = os.sysconf('SC_CLK_TCK')


def cpu_of(pid):
    fields = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Machine:
    """CPU seconds of everything that takes part."""

    def __init__(self, controller):
        folder = os.path.join(os.environ['BENCH_STATE'], 'run')
        self.pids = {name: int(open(os.path.join(folder, name)).read().split()[0])
                     for name in sorted(os.listdir(folder)) if not name.endswith('.command')}
        self.pids.update({'controller': controller.process.pid, 'script': os.getpid()})
        self.before = self.now()

    def now(self):
        return {name: cpu_of(pid) for name, pid in self.pids.items()}

    def since(self):
        """Returns what each took since the last call."""
        before, self.before = self.before, self.now()
        return {name: round(seconds - before[name], 2) for name, seconds in self.before.items()}


class Controller:
    def __init__(self, binary, namespace, log):
        self.log = log
        environment = {name: value for name, value in os.environ.items() if name.startswith('IMAGEBATCH_') or name == 'PATH'}
        environment.update(KUBECONFIG=os.path.join(os.environ['BENCH_STATE'], 'controller.kubeconfig'),
                           IMAGEBATCH_NAMESPACES=namespace, IMAGEBATCH_WORKER_IMAGE='imagebatch:bench')
        self.started = time.time()
        with open(log, 'w') as file:
            self.process = subprocess.Popen([binary, 'run'], env=environment, stdout=file, stderr=subprocess.STDOUT)

    def wait_listed(self, seconds=120):
        """Returns the seconds from the start to the first moment at which every ImageBatch is known."""
        until = time.time() + seconds
        while time.time() < until and self.process.poll() is None:
            for line in open(self.log):
                if 'ImageBatches are listed' in line:
                    whole, fraction = json.loads(line)['timestamp'].rstrip('Z').split('.')
                    at = calendar.timegm(time.strptime(whole, '%Y-%m-%dT%H:%M:%S')) + float(f'0.{fraction}')
                    return at - self.started
            time.sleep(0.02)
        raise RuntimeError(f'the controller did not list its ImageBatches; {self.log} says why')

    def cpu(self):
        return cpu_of(self.process.pid)

    def memory(self):
        """MiB now, and at most since the start."""
        lines = dict(line.split(':', 1) for line in open(f'/proc/{self.process.pid}/status') if ':' in line)
        return tuple(round(int(lines[name].split()[0]) / 1024, 1) for name in ('VmRSS', 'VmHWM'))

    def end(self):
        self.process.terminate()
        self.process.wait(60)


class Audit:
    """The requests of the controller, from the API server's audit log."""

    def __init__(self):
        self.path = os.path.join(os.environ['BENCH_STATE'], 'audit.log')
        self.offset = os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def since(self):
        """Returns how many there were of each kind since the last call, without the watches' own."""
        time.sleep(2)  # The log is written in batches.
        requests = {}
        with open(self.path) as file:
            file.seek(self.offset)
            for line in file:
                event = json.loads(line)
                what = event.get('objectRef', {})
                if event['verb'] in ('watch', 'list'):
                    continue
                kind = f'{event["verb"]} {"/".join(filter(None, (what.get("resource"), what.get("subresource"))))}'
                requests[kind] = requests.get(kind, 0) + 1
            self.offset = file.tell()
        return requests
