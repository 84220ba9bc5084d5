import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** O_ACCMODE of open(2). */
const ACCESS_MODES = 3;

interface Descriptor {
  readonly fd: number;
  /** "/dev/net/tun", "pipe:[4711]" ... */
  readonly file: string;
  readonly access: number;
}

/**
 * Descriptors above the standard ones with which this process was started, such as those of a VMM's network: Node does not hand them on by itself. What
 * Node has opened for its own use is left out: event descriptors, pipes of which it has both ends, /dev/null; so is what is opened before
 * this is called.
 */
export function inheritedDescriptors(): readonly number[] {
  const open = readdirSync('/proc/self/fd').flatMap((name) => {
    const described = Number(name) > 2 ? describe(Number(name)) : undefined;
    return described ? [described] : [];
  });
  const hasOtherEnd = ({ file, access }: Descriptor): boolean =>
    open.some((other) => other.file === file && other.access !== access);
  return open
    .filter((descriptor) => {
      const { file } = descriptor;
      if (/^anon_inode:\[(eventpoll|eventfd|io_uring|timerfd)\]$|^\/dev\/null$/.test(file)) return false;
      return !(file.startsWith('pipe:') && hasOtherEnd(descriptor));
    })
    .map(({ fd }) => fd)
    .sort((a, b) => a - b);
}

/** Undefined for the descriptor of the listing itself, which is closed by now. */
function describe(fd: number): Descriptor | undefined {
  try {
    const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
    return { fd, file: readlinkSync(`/proc/self/fd/${fd}`), access: parseInt(flags ?? '0', 8) & ACCESS_MODES };
  } catch {
    return undefined;
  }
}
