// sharp as `formats` sees it: answers requests on its standard input, one thread.
//   encode <case> <quality> <-> <input> <output>  ->  <CPU nanoseconds> <bytes>
import { createInterface } from 'node:readline';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const sharp = createRequire(process.argv[2] + '/')('sharp');
sharp.cache(false);
sharp.concurrency(1);

const encoders = {
    png: (image, quality) => image.png({ palette: true, quality }),
    webp: (image, quality) => image.webp({ quality }),
    'webp-lossless': (image) => image.webp({ lossless: true }),
    avif: (image, quality) => image.avif({ quality }),
};

for await (const line of createInterface({ input: process.stdin })) {
    const [, mode, quality, , input, output] = line.split('\t');
    const source = readFileSync(input);
    const start = process.cpuUsage();
    const bytes = await encoders[mode](sharp(source), Number(quality)).toBuffer();
    const { user, system } = process.cpuUsage(start);
    writeFileSync(output, bytes);
    console.log(`${(user + system) * 1000}\t${bytes.length}`);
}
