// Builds native/build/cvmtrace.node, and does nothing if it is up to date.
//
//   node native/build.mjs              fails if it cannot be built
//   node native/build.mjs --optional   npm's `prepare`: says in one line what will not work without it, and goes on
import { spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const LAST_LINES = 15;
const LOST = 'capture and replay will not work (import, SQL and analysis do)';

const optional = process.argv.includes('--optional');
const problem = build();
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`);
  process.exitCode = optional ? 0 : 1;
}

/** Returns what to tell the user, or undefined if the addon is there. */
function build() {
  if (process.platform !== 'linux') return `cvmtrace: not Linux: ${LOST}`;
  const compiler = process.env['CXX'] ?? 'g++';
  const missing = ['make', compiler].filter((tool) => !isInstalled(tool));
  if (missing.length > 0) {
    return `cvmtrace: ${missing.join(' and ')} not found: ${LOST}. To get them: apt install make g++, then npm run build:native`;
  }
  const require = createRequire(import.meta.url);
  const made = spawnSync(
    'make',
    [
      '--silent',
      `--jobs=${availableParallelism()}`,
      `NODE_API_INCLUDE=${join(dirname(require.resolve('node-api-headers')), 'include')}`,
      `NODE_ADDON_API_INCLUDE=${dirname(require.resolve('node-addon-api'))}`,
    ],
    { cwd: dirname(fileURLToPath(import.meta.url)), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
  );
  if (made.status === 0) {
    process.stderr.write(made.stderr);
    return undefined;
  }
  const lines = `${made.stdout}${made.stderr}${made.error?.message ?? ''}`.trimEnd().split('\n');
  return [
    ...(optional ? lines.slice(-LAST_LINES) : lines),
    `cvmtrace: the native addon did not compile: ${LOST}. To try again: npm run build:native`,
  ].join('\n');
}

function isInstalled(tool) {
  const places = tool.includes('/')
    ? [tool]
    : (process.env['PATH'] ?? '').split(delimiter).map((dir) => join(dir, tool));
  return places.some((file) => {
    try {
      accessSync(file, constants.X_OK);
      return statSync(file).isFile();
    } catch {
      return false;
    }
  });
}
