/** Logs of any length for the benchmark of imports: made up from a seed, line by line as the tools print them, of a VMM that converts and maps. */
import { closeSync, openSync, writeSync } from 'node:fs';

export interface GeneratedLog {
  /** Name of the format. */
  readonly format: string;
  /** Writes one round of a VMM's work: about 20 lines. */
  readonly round: (random: () => number, clock: Clock) => string;
}

/** Microseconds since 1970, a little later with each line. */
class Clock {
  #seconds = 1_800_000_000;
  #microseconds = 0;

  /** "1800000000.000123" */
  tick(): string {
    this.#microseconds += 7;
    if (this.#microseconds >= 1_000_000) {
      this.#microseconds -= 1_000_000;
      this.#seconds++;
    }
    return `${this.#seconds}.${String(this.#microseconds).padStart(6, '0')}`;
  }
}

const PIECE_CHARS = 1 << 20;

/** Writes a log of at least so many bytes and returns how many it has. */
export function generateLog(path: string, { round }: GeneratedLog, bytes: number): number {
  const fd = openSync(path, 'w');
  try {
    const clock = new Clock();
    let state = 1;
    const random = (): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0);
    let written = 0;
    for (let piece = ''; written < bytes;) {
      piece += round(random, clock);
      if (piece.length < PIECE_CHARS && written + piece.length < bytes) continue;
      written += writeSync(fd, piece);
      piece = '';
    }
    return written;
  } finally {
    closeSync(fd);
  }
}

const hex = (value: number): string => `0x${value.toString(16)}`;
const gpaOf = (random: () => number): number => (random() % 0x100000) * 4096;

/** One conversion of 64 KiB to shared, mapped page by page as QEMU does, an exit, and an event of no interest. */
const qemuLog: GeneratedLog = {
  format: 'qemu-log',
  round: (random, clock) => {
    const gpa = gpaOf(random);
    const line = (text: string): string => `${4210 + (random() % 4)}@${clock.tick()}:${text}\n`;
    let text = line(`kvm_hc_map_gpa_range gpa ${hex(gpa)} size 0x10000 attributes 0x0 flags 0x1`);
    text += line(`kvm_convert_memory start ${hex(gpa)} size 0x10000 private_to_shared`);
    text += line(`ram_block_attributes_state_change offset ${hex(gpa)} size 0x10000 from 'discarded' to 'populated'`);
    for (let page = gpa; page < gpa + 0x10000; page += 4096) {
      text += line(
        `iommufd_backend_map_dma  iommufd=12 ioas=2 iova=${hex(page)} size=0x1000 addr=${hex(0x7f20_0000_0000 + page)} readonly=0 (0)`,
      );
    }
    text += line(`kvm_run_exit cpu_index ${random() % 4}, reason 2`);
    return text + line("memory_region_ops_read cpu 0 mr 0x55d1c0000000 addr 0x3f8 value 0x60 size 1 name 'serial'");
  },
};

/** -f -ttt -T -yy -o: conversions with their fallocates and maps, one call in ten cut by another thread's, and calls of no interest. */
const strace: GeneratedLog = {
  format: 'strace',
  round: (random, clock) => {
    const tid = 4210 + (random() % 4);
    const took = (): string => `<0.${String(random() % 500).padStart(6, '0')}>`;
    const line = (text: string, of = tid): string => `${of}  ${clock.tick()} ${text}\n`;
    const offset = gpaOf(random);
    let text = line(`ioctl(11<anon_inode:kvm-vm>, _IOC(_IOC_WRITE, 0xae, 0xd2, 0x20), 0x7ffd3c5a7a10) = 0 ${took()}`);
    text += line(
      `fallocate(13<anon_inode:[kvm-gmem]>, FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE, ${offset}, 65536) = 0 ${took()}`,
    );
    for (let i = 0; i < 12; i++) {
      text += line(`ioctl(21</dev/iommu<char 10:125>>, _IOC(_IOC_NONE, 0x3b, 0x85, 0), 0x7ffd3c5a7b20) = 0 ${took()}`);
    }
    text += line('ioctl(14<anon_inode:kvm-vcpu:0>, KVM_RUN <unfinished ...>');
    text += line(`madvise(${hex(0x7f20_0000_0000 + offset)}, 65536, MADV_DONTNEED) = 0 ${took()}`, tid + 10);
    text += line(`<... ioctl resumed>, 0)      = 0 ${took()}`);
    text += line(`futex(0x55d1c0000000, FUTEX_WAKE_PRIVATE, 1) = 1 ${took()}`);
    text += line(
      `ppoll([{fd=0, events=POLLIN}, {fd=4<anon_inode:[eventfd]>, events=POLLIN}], 2, {tv_sec=0, tv_nsec=1000000}, NULL, 8) = 0 (Timeout) ${took()}`,
    );
    return text;
  },
};

/** Exits and entries, hypercalls, IOMMU mappings, and the system calls around them. */
const ftrace: GeneratedLog = {
  format: 'ftrace',
  round: (random, clock) => {
    const vcpu = random() % 4;
    const line = (text: string): string =>
      `       CPU ${vcpu}/KVM-${4210 + vcpu}    [00${vcpu}] ..... ${clock.tick().slice(-13)}: ${text}\n`;
    const gpa = gpaOf(random);
    const long = (value: number): string => `0x${value.toString(16).padStart(16, '0')}`;
    let text = line(
      `kvm_exit: vcpu ${vcpu} reason VMCALL rip 0xffffffff81000000 info1 0x0000000000000000 info2 0x0000000000000000 intr_info 0x00000000 error_code 0x00000000`,
    );
    text += line(`kvm_hypercall: nr 0xc a0 ${hex(gpa)} a1 0x10 a2 0x10 a3 0x0`);
    text += line('kvm_userspace_exit: reason KVM_EXIT_HYPERCALL (3)');
    text += line('sys_ioctl(fd: 0xb, cmd: 0x4020aed2, arg: 0x7ffd3c5a7a10)');
    text += line('sys_ioctl -> 0x0');
    for (let page = gpa; page < gpa + 0xc000; page += 4096) {
      text += line(
        `map: IOMMU: iova=${long(page)} - ${long(page + 4096)} paddr=${long(page + 0x1_0000_0000)} size=4096`,
      );
    }
    text += line(`kvm_entry: vcpu ${vcpu}, rip 0xffffffff81000003`);
    return (
      text +
      line(
        'sched_switch: prev_comm=qemu prev_pid=4210 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120',
      )
    );
  },
};

export const GENERATED_LOGS: readonly GeneratedLog[] = [qemuLog, strace, ftrace];
