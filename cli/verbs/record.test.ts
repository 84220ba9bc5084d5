/** `record` and `mark` as real processes: streams, statuses, signals, and what strace sees of the same program. They run `dist/`, which `npm test` builds. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { straceCalls } from '../../bench/lab/testing/strace-calls.ts';
import { targetFolder } from '../../capture/record/testing/recorded-target.ts';
import { readRows, TraceFile, type TraceRow } from '../../capture/trace/index.ts';
import { PACKAGE_ROOT } from '../../native/index.ts';
import { runCli } from '../testing/run-cli.ts';

const MAIN = join(PACKAGE_ROOT, 'dist', 'cli', 'main.js');
const { path: folder, target } = targetFolder();
const env = { ...process.env, XDG_RUNTIME_DIR: folder, TMPDIR: folder };
const canCompare = existsSync('/dev/kvm') && spawnSync('strace', ['-V']).status === 0;

beforeAll(() => {
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is not built: npm run build`);
});

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs cvmtrace in the folder; `onStdout` sees the first output, and the process. */
function cvmtrace(argv: readonly string[], onStdout?: (pid: number) => void): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...argv], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (stdout === '') onStdout?.(child.pid ?? 0);
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', reject);
    child.on('exit', (status) => {
      // A target that outlives a killed recorder has the streams, too.
      setTimeout(() => resolve({ status, stdout, stderr }), 20);
    });
  });
}

function rowsOf(name: string): readonly TraceRow[] {
  const file = TraceFile.open(join(folder, name));
  try {
    return [...readRows(file)];
  } finally {
    file.close();
  }
}

function countOf(rows: readonly TraceRow[], op: string): number {
  return rows.filter((row) => row['op'] === op).length;
}

describe('cvmtrace record', () => {
  test("has the command's streams and status, a trace of its name, and says on stderr what it recorded", async () => {
    const run = await cvmtrace(['record', '--', target, 'say=hello', 'punch=4', 'exit=5']);
    expect(run).toEqual({
      status: 5,
      stdout: 'hello\n',
      stderr: 'cvmtrace record: recorded 5 rows of 1 process, 0 lost, target.arrow\n',
    });
    expect(countOf(rowsOf('target.arrow'), 'ram_punch_hole')).toBe(4);
    const again = await cvmtrace(['record', '--', target, 'say=not run']);
    expect(again).toMatchObject({ status: 74, stdout: '' });
    expect(again.stderr).toMatch(/^cvmtrace record: target\.arrow exists\nhint: /);
  });

  test('hands on the descriptors that it was started with, and none of its own', () => {
    const script = `"$0" "$1" record --quiet -o fds.arrow -- sh -c 'cat <&7; ls /proc/self/fd' 7< <(echo inherited) 8<&-`;
    const { stdout, status } = spawnSync('bash', ['-c', script, process.execPath, MAIN], {
      cwd: folder,
      env,
      encoding: 'utf8',
    });
    expect(status).toBe(0);
    // The listing has one of its own; the highest is the library's.
    const [first, ...fds] = stdout.trim().split('\n');
    expect(first).toBe('inherited');
    const low = fds.map(Number).filter((fd) => fd < 16);
    expect(low).toEqual(expect.arrayContaining([0, 1, 2, 7]));
    expect(low).toHaveLength(5);
  });

  test('--json is the last thing on standard output, and --quiet says nothing', async () => {
    const run = await cvmtrace(['record', '--json', '--quiet', '-o', 'j.arrow', '--', target, 'say=hello', 'punch=4']);
    expect(run).toMatchObject({ status: 0, stderr: '' });
    const [, document = ''] = /^hello\n(\{[^]*\})\n$/.exec(run.stdout) ?? [];
    expect(JSON.parse(document)).toMatchObject({
      schema: 'cvmtrace.record/1',
      out: 'j.arrow',
      exitStatus: 0,
      rows: 5,
      processes: 1,
      lost: 0,
      warnings: [],
    });
  });

  test('has the statuses of a shell for what does not run, and refuses what it cannot record', async () => {
    const missing = await cvmtrace(['record', '--', 'no-such-command']);
    expect(missing).toMatchObject({ status: 127, stdout: '' });
    expect(missing.stderr).toMatch(/^cvmtrace record: no-such-command is not a file in PATH\nhint: /);
    expect(existsSync(join(folder, 'no-such-command.arrow'))).toBe(false);
    execFileSync('cc', ['-static', '-x', 'c', '-o', join(folder, 'static'), '-'], {
      input: 'int main(void) { return 0; }',
    });
    const fixed = await cvmtrace(['record', '--', './static']);
    expect(fixed).toMatchObject({ status: 69, stdout: '' });
    expect(fixed.stderr).toMatch(/static cannot be recorded: it is statically linked\nhint: .*strace -f/);
  });

  test('refuses options that are none', async () => {
    for (const options of [['--ring', '1K'], ['--ring', 'x'], ['--on-full', 'wait'], ['--phase-from', '('], []]) {
      const command = options.length > 0 ? ['--', 'true'] : [];
      expect(await runCli(['record', ...options, ...command])).toMatchObject({ status: 2, stdout: '' });
    }
  });

  test('warns of a command in which nothing was seen', async () => {
    const run = await cvmtrace(['record', '-o', 'none.arrow', '--', 'true']);
    expect(run.status).toBe(0);
    expect(run.stderr).toMatch(
      /^cvmtrace record: warning: no call was seen: the recording library was in 1 process, .*strace/,
    );
    expect((await runCli(['info', join(folder, 'none.arrow')])).stdout).toContain('left out   events: the recording');
  });

  test('that is killed leaves the command alone, and its rows to recover', async () => {
    const pidFile = join(folder, 'pid');
    writeFileSync(
      join(folder, 'run.sh'),
      `echo $$ > ${pidFile}; exec ${target} punch=100 sleep=1300 say=ready forever`,
    );
    const run = await cvmtrace(['record', '-o', 'killed.arrow', '--', 'sh', 'run.sh'], (pid) =>
      process.kill(pid, 'SIGKILL'),
    );
    expect(run.status).toBeNull();
    const pid = Number(readFileSync(pidFile, 'utf8'));
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toMatch(/^\d+ \(target\) [RS]/);
    process.kill(pid, 'SIGKILL');
    expect(existsSync(join(folder, 'killed.arrow'))).toBe(false);
    const recovered = await runCli([
      'recover',
      join(folder, 'killed.arrow.partial'),
      '-o',
      join(folder, 'recovered.arrow'),
    ]);
    expect(recovered).toMatchObject({ status: 0 });
    expect(countOf(rowsOf('recovered.arrow'), 'ram_punch_hole')).toBe(100);
  });

  test.skipIf(!canCompare)(
    'has as many calls as strace of the same program, with their ranges and errnos',
    async () => {
      execFileSync('strace', [
        '-f',
        '-X',
        'raw',
        '-yy',
        '-e',
        'trace=ioctl,fallocate',
        '-o',
        join(folder, 'log'),
        target,
        'kvm',
        'punch=7',
      ]);
      expect(await cvmtrace(['record', '--quiet', '-o', 'kvm.arrow', '--', target, 'kvm', 'punch=7'])).toMatchObject({
        status: 0,
      });
      const ops: Readonly<Record<string, string>> = {
        '0xae01': 'kvm_create_vm',
        '0xae41': 'kvm_create_vcpu',
        '0x4020ae46': 'kvm_set_user_memory_region',
        '0xc040aed4': 'kvm_create_guest_memfd',
      };
      const seen = straceCalls(readFileSync(join(folder, 'log'), 'utf8')).flatMap(({ name, path, args, errno }) => {
        if (name === 'ioctl') {
          const op = ops[args[1] ?? ''];
          return op === undefined ? [] : [{ op, errno }];
        }
        const op = `${path.includes('kvm-gmem') ? 'gmem' : 'ram'}_${(Number(args[1]) & 2) === 0 ? 'allocate' : 'punch_hole'}`;
        return [{ op, errno, offset: BigInt(args[2] ?? 0), len: BigInt(args[3] ?? 0) }];
      });
      expect(seen.length).toBeGreaterThan(110);
      const names = new Set(seen.map(({ op }) => op));
      const rows = rowsOf('kvm.arrow')
        .filter(({ op }) => names.has(String(op)))
        .map(({ op, errno, offset, len }) =>
          String(op).startsWith('kvm') ? { op, errno } : { op, errno, offset, len },
        );
      expect(rows).toEqual(seen);
    },
  );
});

describe('cvmtrace mark', () => {
  test('sets a phase from inside the recorded command', async () => {
    writeFileSync(
      join(folder, 'marks.sh'),
      `${target} punch=3\n"$1" "$2" mark 'second half' --json\n${target} punch=5\n`,
    );
    const run = await cvmtrace(['record', '-o', 'marks.arrow', '--', 'sh', 'marks.sh', process.execPath, MAIN]);
    expect(run).toMatchObject({ status: 0 });
    expect(JSON.parse(run.stdout)).toMatchObject({
      schema: 'cvmtrace.mark/1',
      name: 'second half',
      out: join(folder, 'marks.arrow'),
    });
    expect(
      rowsOf('marks.arrow')
        .map(({ op, detail }) => (op === 'mark' ? detail : op))
        .filter((what) => !String(what).startsWith('m')),
    ).toEqual([
      ...new Array<string>(3).fill('ram_punch_hole'),
      'second half',
      ...new Array<string>(5).fill('ram_punch_hole'),
      'trace_end',
    ]);
  });

  test('without a recording says so', async () => {
    const run = await runCli(['mark', 'phase'], { env: { XDG_RUNTIME_DIR: folder, TMPDIR: folder } });
    expect(run).toMatchObject({ status: 66, stdout: '' });
    expect(run.stderr).toMatch(/^cvmtrace mark: nothing is being recorded\nhint: start one with: cvmtrace record/);
  });
});
