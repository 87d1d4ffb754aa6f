// The host of the images, from memory so that it is not what limits: prints its port, ends with its standard input.
//   origin.mjs <folder of images> <folder of CSVs>
// <name>-<copy>.jpg is <name>.jpg under as many URLs as are wanted.
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const [images, sources] = process.argv.slice(2);
const files = new Map(readdirSync(images).map((name) => ['/' + name, readFileSync(join(images, name))]));

const server = createServer((request, response) => {
    const isSource = request.url.endsWith('.csv');
    const body = isSource ? readFileSync(join(sources, request.url)) : files.get(request.url.replace(/-\d+\.jpg$/, '.jpg'));
    if (!body) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': isSource ? 'text/csv' : 'image/jpeg', 'content-length': body.length });
    response.end(body);
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit());
