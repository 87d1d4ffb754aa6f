// sharp as the benchmark sees it: answers requests on its standard input, one thread.
//   encode <default|fast|mozjpeg> <quality> <repetitions> <input> <output>  ->  <CPU nanoseconds> <bytes>
import { createInterface } from 'node:readline';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const sharp = createRequire(process.argv[2] + '/')('sharp');
sharp.cache(false);
sharp.concurrency(1);

const options = {
    default: (quality) => ({ quality }),
    fast: (quality) => ({ quality, optimiseCoding: false }),
    mozjpeg: (quality) => ({ quality, mozjpeg: true }),
};

for await (const line of createInterface({ input: process.stdin })) {
    const [, mode, quality, repetitions, input, output] = line.split('\t');
    const source = readFileSync(input);
    const run = () => sharp(source).jpeg(options[mode](Number(quality))).toBuffer();

    const start = process.cpuUsage();
    let bytes;
    for (let at = 0; at < Number(repetitions); at++) bytes = await run();
    const { user, system } = process.cpuUsage(start);
    writeFileSync(output, bytes);
    console.log(`${Math.round(((user + system) * 1000) / Number(repetitions))}\t${bytes.length}`);
}
