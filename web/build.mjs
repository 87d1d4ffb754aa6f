// Bundles the page into dist/, which is committed: the gateway's build needs no Node.
//
//   node build.mjs           write dist/
//   node build.mjs --check   fail when dist/ is not what the sources make
import { readFile, writeFile, mkdir } from 'node:fs/promises';
import { build } from 'esbuild';

const here = new URL('./', import.meta.url);
const check = process.argv.includes('--check');

// The explanations of failures have one home, the documentation.
async function explanations() {
  const page = await readFile(new URL('../docs/error-codes.md', here), 'utf8');
  const [section] = page.split('\n## Failures of an image')[1].split('\n## ');
  const rows = section.matchAll(/^\| `(\w+)` \| (.+?) \| (.+?) \|$/gm);
  const codes = Object.fromEntries([...rows].map(([, code, meaning]) => [code, meaning.replaceAll('`', '')]));
  if (Object.keys(codes).length < 20) throw new Error('docs/error-codes.md has no table of failures any more');
  return codes;
}

const codes = {
  name: 'codes',
  setup(build) {
    build.onResolve({ filter: /^codes:failures$/ }, ({ path }) => ({ path, namespace: 'codes' }));
    build.onLoad({ filter: /.*/, namespace: 'codes' }, async () => ({
      contents: JSON.stringify(await explanations()),
      loader: 'json',
    }));
  },
};

const result = await build({
  absWorkingDir: new URL('.', here).pathname,
  entryPoints: { app: 'src/main.ts', style: 'src/style.css' },
  outdir: 'dist',
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  charset: 'utf8',
  legalComments: 'none',
  write: false,
  plugins: [codes],
});
const files = result.outputFiles.map(({ path, contents }) => [path.split('/').pop(), Buffer.from(contents)]);
for (const name of ['index.html', 'icon.svg']) files.push([name, await readFile(new URL(`src/${name}`, here))]);
files.sort(([a], [b]) => a.localeCompare(b));

await mkdir(new URL('dist/', here), { recursive: true });
let stale = false;
for (const [name, contents] of files) {
  const file = new URL(`dist/${name}`, here);
  const before = await readFile(file).catch(() => null);
  if (before?.equals(contents)) continue;
  stale = true;
  if (check) console.error(`web/dist/${name} is not what web/src makes: run "make web" and commit it`);
  else await writeFile(file, contents);
}
if (check && stale) process.exit(1);
