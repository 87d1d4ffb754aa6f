// The same work with Node.js: sharp, undici and the AWS SDK, as somebody who knows them would write it.
//   sharp-worker.mjs <folder of node_modules> <input.csv> <output.csv> <key prefix> <quality> <default|mozjpeg> <concurrency>
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [folder, input, output, prefix, quality, mode, concurrency] = process.argv.slice(2);
const require = createRequire(folder + '/');
const sharp = require('sharp');
const { Agent, request } = require('undici');
const { PutObjectCommand, S3Client } = require('@aws-sdk/client-s3');

const connections = Number(concurrency);
const options = { quality: Number(quality), mozjpeg: mode === 'mozjpeg' };
const bucket = process.env.IMAGEBATCH_STORAGE_BUCKET;
const dispatcher = new Agent({ connections, pipelining: 1 });
const s3 = new S3Client({
    endpoint: process.env.IMAGEBATCH_S3_ENDPOINT,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: {
        accessKeyId: process.env.IMAGEBATCH_S3_ACCESS_KEY_ID,
        secretAccessKey: process.env.IMAGEBATCH_S3_SECRET_ACCESS_KEY,
    },
    // Else each body is hashed a second time.
    requestChecksumCalculation: 'WHEN_REQUIRED',
});
sharp.cache(false);
sharp.concurrency(1);

async function processImage(url) {
    const { statusCode, body } = await request(url, { dispatcher });
    if (statusCode !== 200) throw new Error(`${url}: ${statusCode}`);
    const source = Buffer.from(await body.arrayBuffer());
    const result = await sharp(source).jpeg(options).toBuffer();
    const bytes = result.length < source.length ? result : source;
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const key = `${prefix}/${sha256}/${url.split('/').pop()}`;
    await s3.send(
        new PutObjectCommand({
            Bucket: bucket,
            Key: key,
            Body: bytes,
            ContentType: 'image/jpeg',
            CacheControl: 'public, max-age=31536000, immutable',
            IfNoneMatch: '*',
        }),
    );
    return `https://cdn.example/${key}`;
}

// No cell of the benchmark's CSV has a line break or a quote but those around the URLs.
const [header, ...lines] = readFileSync(input, 'utf8').trimEnd().split('\n');
const rows = lines.map((line) => line.match(/^([^,]*),([^,]*),"?([^"]*)"?$/).slice(1));
const images = rows.flatMap((row, index) => row[2].split(',').map((url, slot) => ({ url, index, slot })));
const outputs = rows.map(() => []);
let next = 0;
async function work() {
    while (next < images.length) {
        const { url, index, slot } = images[next++];
        outputs[index][slot] = await processImage(url);
    }
}
await Promise.all(Array.from({ length: connections }, work));
const written = rows.map(([serial, name, urls], index) => `${serial},${name},"${urls}","${outputs[index].join(',')}"`);
writeFileSync(output, [`${header},Output Image Urls`, ...written].join('\n') + '\n');
s3.destroy();
await dispatcher.close();
