import { tryOperations } from '../../capture/backends/trial.ts';
import { MEMORY_PRIVATE, PAGE_BYTES } from '../../capture/request.ts';
import { type Native, type OpName, RamFlag } from '../../native/index.ts';
import { type Holder, HOLDERS, pinnedPages } from './page-holders.ts';
import type { Cell } from './scenario.ts';
import { defineScenario, type Operation, type Stage } from './stage.ts';

const NUMBER = { vm: 1, memory: 2 } as const;
const PAGES = 16;
const RANGE = { offset: 0, len: PAGES * PAGE_BYTES } as const;
/** The one page that somebody holds. */
const HELD = { offset: 5 * PAGE_BYTES, len: PAGE_BYTES } as const;

/** GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED of linux/kvm.h. */
const MMAP_INIT_SHARED = 3;
/** KVM_X86_SW_PROTECTED_VM has private memory, a default VM has not. */
const VM_TYPES = [1, 0] as const;

/** The memory that is shared and is to become private without moving. */
export interface Memory {
  readonly name: string;
  readonly setUp: readonly Operation[];
  readonly touch: OpName;
  readonly punch: OpName;
  /** Can be converted at all; otherwise only the discard is left of it. */
  readonly guestMemfd: boolean;
}

const SHARED_MEMFD: Memory = {
  name: 'memfd',
  setUp: [['ram_create', { obj: NUMBER.memory, len: RANGE.len, flags: RamFlag.memfd }, 'shared']],
  touch: 'ram_touch',
  punch: 'ram_punch_hole',
  guestMemfd: false,
};

function guestMemfd(vmType: number): Memory {
  return {
    name: 'guest_memfd',
    setUp: [
      ['kvm_create_vm', { obj: NUMBER.vm, attrs: vmType }],
      ['kvm_create_guest_memfd', { obj: NUMBER.memory, len: RANGE.len, flags: MMAP_INIT_SHARED, peer: NUMBER.vm }],
    ],
    touch: 'gmem_touch',
    punch: 'gmem_punch_hole',
    guestMemfd: true,
  };
}

export const inPlace = defineScenario({
  name: 'in-place',
  summary: 'a page that somebody holds is to become private where it is: refused, let go, tried again; or punched away',
  source:
    'the guest_memfd in-place conversion series (S. Christopherson, A. Tng, F. Tabba; v8, June 2026) and QEMU for it (M. Roth, May 2026)',
  needs: 'a guest_memfd that can be mapped (Linux 6.18); less is shown without',
  dma: ['mock'],
  parameters: [],
  async play({ run, record }) {
    const { memory, errno } = await findMemory(run.native);
    return await record({ leftOut: [] }, async (stage) => {
      if (!memory.guestMemfd)
        await stage.leaveOut(
          'gmem-mmap',
          'no guest_memfd can be mapped here (Linux 6.18): a memfd takes its place, and there is nothing to convert',
          errno,
        );
      await stage.need(memory.setUp);
      const rows: Cell[][] = [];
      for (const [index, holder] of HOLDERS.entries()) {
        run.onProgress?.(index / HOLDERS.length, holder.name);
        const row = await holdAndConvert(stage, memory, holder);
        if (row) rows.push(row);
      }
      stage.findings.tables.push({
        title: `A page of a ${memory.name} that is held while its range is to become private`,
        columns: [
          { title: 'held by', unit: 'text' },
          { title: 'conversion', unit: 'text' },
          { title: 'first held byte', unit: 'bytes' },
          { title: 'after letting go', unit: 'text' },
          { title: 'punch while held', unit: 'text' },
          { title: 'left in the file', unit: 'bytes' },
          { title: 'pages pinned after it', unit: 'count' },
          { title: 'the holder has', unit: 'text' },
        ],
        rows,
        notes: ['a page that is pinned and no longer in the file is where a device still writes to, and nobody reads'],
      });
    });
  },
});

/** The best memory for it that this host has, and why not a guest_memfd. */
async function findMemory(native: Native): Promise<{ readonly memory: Memory; readonly errno: string }> {
  let errno = '';
  for (const vmType of VM_TYPES) {
    const memory = guestMemfd(vmType);
    const tried = await tryOperations(native, [
      ...memory.setUp,
      [memory.touch, { obj: NUMBER.memory, ...RANGE, flags: 1 }],
    ]);
    const failed = tried.find((one) => one.errno !== 0);
    if (!failed) return { memory, errno: '' };
    errno = failed.errnoName;
  }
  return { memory: SHARED_MEMFD, errno };
}

/** One holder: the conversion, then the punch. Undefined if there is no such holder here. */
async function holdAndConvert(stage: Stage, memory: Memory, holder: Holder): Promise<Cell[] | undefined> {
  const { findings } = stage;
  await stage.phase(`held by ${holder.name}`);
  await touch(stage, memory);
  const pinnedBefore = pinnedPages();
  const problem = await holder.hold(stage, NUMBER.memory, HELD);
  if (problem !== undefined) {
    await stage.leaveOut(holder.step, holder.without, problem);
    return undefined;
  }
  const conversion = memory.guestMemfd ? await convert(stage, memory, holder) : NOT_TRIED;

  const punch = await stage.one(memory.punch, { obj: NUMBER.memory, ...RANGE });
  stage.judge(`${holder.name}: punch of the range`, punch.errnoName);
  const left = stage.recorder.residentBytes(NUMBER.memory);
  if (left === null) await noCachestat(stage);
  else findings.expect(`${holder.name}: bytes in the file after the punch`, left, 0);
  const pinned = difference(pinnedPages(), pinnedBefore);
  // Others may pin pages meanwhile, but these are still held.
  if (pinned !== null && holder.pins > 0)
    findings.check(
      `${holder.name}: pages pinned after the punch`,
      pinned >= holder.pins,
      String(pinned),
      String(holder.pins),
    );
  await touch(stage, memory);
  const has = await holder.sees(stage, NUMBER.memory, HELD);
  if (has !== 'unknown') findings.expect(`${holder.name}: after the punch and a new access it has`, has, holder.keeps);

  if (holder.pins > 0) await holdInOrder(stage, memory, holder);
  const { asked, offset, retried } = conversion;
  return [holder.name, asked, offset, retried, punch.errnoName || 'success', left, pinned, has];
}

/** In the right order nothing is stale: let go, punch, and hold what is there then. */
async function holdInOrder(stage: Stage, memory: Memory, holder: Holder): Promise<void> {
  await letGo(stage, holder);
  await stage.need([[memory.punch, { obj: NUMBER.memory, ...RANGE }]]);
  await touch(stage, memory);
  const again = await holder.hold(stage, NUMBER.memory, HELD);
  stage.judge(`${holder.name}: holding the new page`, again ?? '');
  const has = await holder.sees(stage, NUMBER.memory, HELD);
  if (has !== 'unknown')
    stage.findings.expect(`${holder.name}: let go before the punch, it has`, has, 'the page of the file');
  await letGo(stage, holder);
}

/** Said once. */
async function noCachestat(stage: Stage): Promise<void> {
  if (stage.findings.leftOut.some(({ step }) => step === 'cachestat')) return;
  await stage.leaveOut('cachestat', 'without cachestat(2) nobody tells which pages a file has', 'ENOSYS');
}

interface Conversion {
  readonly asked: string;
  /** Byte of the file, as the kernel wrote it back. */
  readonly offset: number | null;
  readonly retried: string;
}

const NOT_TRIED: Conversion = { asked: 'not tried', offset: null, retried: '' };

/**
 * KVM_SET_MEMORY_ATTRIBUTES2 on the guest_memfd, all or nothing: EAGAIN with the first byte that is held, and success when it was let go. The memory
 * is shared and the page is held again at the end.
 */
async function convert(stage: Stage, memory: Memory, holder: Holder): Promise<Conversion> {
  const { findings } = stage;
  const ask = (attrs: number): Promise<Awaited<ReturnType<Stage['one']>>> =>
    stage.one('kvm_set_memory_attributes2', { obj: NUMBER.memory, ...RANGE, attrs, flags: 0 });
  const asked = await ask(MEMORY_PRIVATE);
  if (asked.errnoName === 'ENOTTY' || asked.errnoName === 'EINVAL') {
    if (!findings.leftOut.some(({ step }) => step === 'attributes2'))
      await stage.leaveOut(
        'attributes2',
        asked.errnoName === 'ENOTTY'
          ? 'this kernel has no KVM_SET_MEMORY_ATTRIBUTES2: conversion in place is not in it'
          : 'this VM has no private memory that KVM_SET_MEMORY_ATTRIBUTES2 could make',
        asked.errnoName,
      );
    return { asked: asked.errnoName, offset: null, retried: '' };
  }
  if (holder.pins === 0) {
    // The kernel takes a mapping away by itself; only then is the page private, and an access SIGBUS.
    stage.judge(`${holder.name}: conversion`, asked.errnoName);
    await expectNoAccess(stage, memory, holder.name);
    await back(stage, ask, holder);
    return { asked: asked.errnoName || 'success', offset: asked.result, retried: '' };
  }
  stage.judge(`${holder.name}: conversion`, asked.errnoName, 'EAGAIN');
  findings.expect(`${holder.name}: first byte that is held`, asked.result, HELD.offset);
  await touch(stage, memory);
  await letGo(stage, holder);
  const retried = await ask(MEMORY_PRIVATE);
  stage.judge(`${holder.name}: conversion after letting go`, retried.errnoName);
  await expectNoAccess(stage, memory, holder.name);
  await back(stage, ask, holder);
  await touch(stage, memory);
  const again = await holder.hold(stage, NUMBER.memory, HELD);
  stage.judge(`${holder.name}: holding it when it is shared again`, again ?? '');
  return { asked: asked.errnoName || 'success', offset: asked.result, retried: retried.errnoName || 'success' };
}

async function back(
  stage: Stage,
  ask: (attrs: number) => Promise<{ readonly errnoName: string }>,
  holder: Holder,
): Promise<void> {
  const { errnoName } = await ask(0);
  stage.judge(`${holder.name}: shared again`, errnoName);
}

async function expectNoAccess(stage: Stage, memory: Memory, name: string): Promise<void> {
  const row = await stage.one(memory.touch, { obj: NUMBER.memory, ...RANGE, flags: 0 });
  stage.judge(`${name}: access of the host to private memory`, row.errnoName, 'EFAULT');
}

async function touch(stage: Stage, memory: Memory): Promise<void> {
  const row = await stage.one(memory.touch, { obj: NUMBER.memory, ...RANGE, flags: 1 });
  if (row.errno !== 0) stage.judge('access to shared memory', row.errnoName);
}

async function letGo(stage: Stage, holder: Holder): Promise<void> {
  const row = await holder.letGo(stage);
  if (row) stage.judge(`${holder.name}: letting go`, row.errnoName);
}

function difference(now: number | null, before: number | null): number | null {
  return now === null || before === null ? null : now - before;
}
