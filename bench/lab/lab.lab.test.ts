/** What `cvmtrace lab run` promises, tried on real machines. */
import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { lab, labShell, startLab, testFolder } from './testing/run-lab.ts';

const folder = testFolder();

function qemuProcesses(): string[] {
  const lines = execFileSync('ps', ['-eo', 'stat,args'], { encoding: 'utf8' }).split('\n');
  return lines.filter((line) => line.includes('qemu-system-x86_64') && !line.startsWith('Z'));
}

describe('lab run', () => {
  it('passes streams and status through exactly', () => {
    const input = randomBytes(2_000_000);
    const path = join(folder, 'input');
    writeFileSync(path, input);
    const { status, stdout, stderr } = labShell('sha256sum; echo of stderr >&2; exit 37', { cwd: folder, input });
    expect({ status, stderr }).toEqual({ status: 37, stderr: 'of stderr\n' });
    expect(stdout.split(' ')[0]).toBe(createHash('sha256').update(input).digest('hex'));
  });

  it('gives the status of a shell for what a signal ended, what is not there and what cannot run', () => {
    const script = 'sh -c "kill -9 \\$\\$"; echo $?; /nonexistent; echo $?; /etc/passwd; echo $?';
    expect(labShell(script).stdout.split('\n').slice(0, 3)).toEqual(['137', '127', '126']);
    expect(lab(['nonexistent']).status).toBe(127);
    expect(lab(['/etc/passwd']).status).toBe(126);
  });

  it('writes to the current directory, and forgets what is written elsewhere', () => {
    const { status } = labShell('echo kept > kept; echo lost > /etc/cvmtrace-lost; test -f /etc/cvmtrace-lost', {
      cwd: folder,
    });
    expect(status).toBe(0);
    expect(readFileSync(join(folder, 'kept'), 'utf8')).toBe('kept\n');
    expect(existsSync('/etc/cvmtrace-lost')).toBe(false);
  });

  it('has what the lab is for, all at once', () => {
    const { stdout } = lab(['cvmtrace', 'probe', '--json']);
    const { rows } = JSON.parse(stdout) as { rows: { area: string; step: string; works: boolean }[] };
    const working = rows.filter((row) => row.works).map(({ area, step }) => `${area}: ${step}`);
    for (const what of [
      'sw-protected: create-vm',
      'sw-protected: attributes',
      'sw-protected: guest-memfd',
      'kvm: pre-fault',
      'kvm: map-gpa-exit',
      'dma: type1',
      'dma: vfio-device',
      'dma: cdev',
      'dma: iommufd',
      'dma: mock',
    ])
      expect(working).toContain(what);
  });

  it('runs another kernel, and other IOMMUs', () => {
    const { stdout } = labShell('uname -r; ls /dev/vfio', { options: ['--kernel', '6.1', '--iommu', 'vtd'] });
    expect(stdout).toMatch(/^6\.1\.\d+\n\d+\n/);
    expect(labShell('ls /sys/class/iommu', { options: ['--iommu', 'amd'] }).stdout).toContain('ivhd');
  });

  it('hands an interrupt to the command', async () => {
    const child = startLab(['sh', '-c', 'trap "echo caught; exit 5" INT; echo ready; while :; do sleep 0.1; done']);
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (chunk.toString().includes('ready')) child.kill('SIGINT');
    });
    const status = await new Promise((resolve) => child.on('close', resolve));
    expect({ status, text }).toEqual({ status: 5, text: 'ready\ncaught\n' });
  });

  it('leaves no QEMU behind when it is killed', async () => {
    const child = startLab(['sh', '-c', 'echo ready; sleep 1000']);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    expect(qemuProcesses()).toHaveLength(1);
    child.kill('SIGKILL');
    await new Promise((resolve) => child.on('close', resolve));
    for (let i = 0; i < 50 && qemuProcesses().length > 0; i++) await setTimeout(100);
    expect(qemuProcesses()).toEqual([]);
  });

  it('says that the kernel panicked, with its last lines', () => {
    const { status, stderr } = labShell('echo c > /proc/sysrq-trigger; sleep 60');
    expect(status).toBe(70);
    expect(stderr).toContain("the lab's machine panicked");
    expect(stderr).toContain('sysrq triggered crash');
  });

  it('ends with 70 where the image does not boot', () => {
    const image = join(folder, 'bzImage');
    const cache = join(folder, 'cache');
    const kernel = Buffer.alloc(2 ** 20);
    kernel.write('HdrS', 0x202);
    writeFileSync(image, kernel);
    const env = { XDG_CACHE_HOME: cache };
    const cli = join(import.meta.dirname, '../../dist/cli/main.js');
    execFileSync(process.execPath, [cli, 'lab', 'build', '--kernel', image], { env: { ...process.env, ...env } });
    const { status, stderr } = lab(['true'], { options: ['--kernel', image, '--boot-limit', '8'], env });
    expect({ status, stderr }).toMatchObject({ status: 70, stderr: expect.stringContaining('did not boot') as string });
  });

  it('does not hang for a minute over nothing', () => {
    const started = performance.now();
    expect(lab(['true']).status).toBe(0);
    // Some 2 s on an idle machine, but this is no benchmark: only a machine that hangs is far beyond.
    expect(performance.now() - started).toBeLessThan(60_000);
  });
});
