/** Who may hold a page of a file while the file changes under it. */
import { readFileSync } from 'node:fs';
import type { StepRow } from '../../capture/record-steps.ts';
import type { Stage } from './stage.ts';

/** A range of the memory, bytes. */
interface Held {
  readonly offset: number;
  readonly len: number;
}

export type Sees = 'the page of the file' | 'another page' | 'unknown';

export interface Holder {
  readonly name: string;
  /** As of `LeftOutStep.step`, and why it is left out where `hold` says an errno. */
  readonly step: string;
  readonly without: string;
  /** Pages that it pins. */
  readonly pins: number;
  /** What it has after a punch and a new access. */
  readonly keeps: Sees;
  /** The errno's name if there is no such holder here. */
  hold(stage: Stage, memory: number, held: Held): Promise<string | undefined>;
  /** Whether what it has is what the file has there now. */
  sees(stage: Stage, memory: number, held: Held): Promise<Sees>;
  /** The operation that let go; undefined if there is nothing to do. */
  letGo(stage: Stage): Promise<StepRow | undefined>;
}

const NUMBER = { hold: 20, iommufd: 21, ioas: 22, mock: 23 } as const;
/** In the mock's aperture. */
const IOVA = 2 ** 24;
/** IOMMU_IOAS_MAP_FIXED_IOVA | WRITEABLE | READABLE of linux/iommufd.h. */
const FIXED_READ_WRITE = 7;
/** The pin is for writing, as a device's buffers are. */
const GUP_WRITE = 1;

/** The mapping through which the memory is touched anyway: it is not counted as a user, and follows the file. */
const hostMapping: Holder = {
  name: 'a mapping of the host',
  step: 'host-mapping',
  without: '',
  pins: 0,
  keeps: 'the page of the file',
  hold: () => Promise.resolve(undefined),
  sees: (stage, memory, held) => {
    // It has been written through just now: if that did not bring the file its pages back, it went elsewhere.
    const bytes = stage.recorder.residentBytes(memory);
    const seen = bytes === null ? 'unknown' : bytes > held.offset ? 'the page of the file' : 'another page';
    return Promise.resolve(seen);
  },
  letGo: () => Promise.resolve(undefined),
};

/** As a driver holds the buffer of a transfer. */
const longTermPin: Holder = {
  name: 'a long-term pin',
  step: 'gup-hold',
  without: 'pins without a device are made by CONFIG_GUP_TEST through debugfs',
  pins: 1,
  keeps: 'unknown',
  hold: async (stage, memory, held) => {
    const row = await stage.one('gup_hold', { obj: NUMBER.hold, peer: memory, ...held, flags: GUP_WRITE });
    return row.errno === 0 ? undefined : row.errnoName;
  },
  sees: () => Promise.resolve('unknown'),
  letGo: (stage) => stage.one('gup_release', { obj: NUMBER.hold }),
};

/** A device of iommufd's mock, whose page table can be asked. */
const mockDevice: Holder = {
  name: 'a mapping of an IOMMU',
  step: 'iommu-holder',
  without: 'the mock devices of iommufd (CONFIG_IOMMUFD_TEST, and no other IOMMU in use) are not there',
  pins: 1,
  keeps: 'another page',
  hold: async (stage, memory, held) => {
    if (!opened.has(stage)) {
      const rows = await stage.steps([
        ['iommufd_open', { obj: NUMBER.iommufd }],
        ['iommufd_ioas_alloc', { obj: NUMBER.ioas, peer: NUMBER.iommufd }],
        ['iommufd_test_mock_domain', { obj: NUMBER.mock, peer: NUMBER.ioas }],
      ]);
      const failed = rows.find(({ errno }) => errno !== 0);
      if (failed) return failed.errnoName;
      opened.add(stage);
    }
    const row = await stage.one('iommufd_ioas_map', {
      obj: NUMBER.ioas,
      peer: memory,
      ...held,
      iova: IOVA,
      flags: FIXED_READ_WRITE,
    });
    return row.errno === 0 ? undefined : row.errnoName;
  },
  sees: async (stage, memory, held) => {
    const row = await stage.one('iommufd_test_md_check_map', { obj: NUMBER.mock, peer: memory, ...held, iova: IOVA });
    return row.errno === 0 ? 'the page of the file' : 'another page';
  },
  letGo: (stage) => stage.one('iommufd_ioas_unmap', { obj: NUMBER.ioas, iova: IOVA, len: 4096 }),
};

/** Stages on which the mock's objects are there. */
const opened = new WeakSet<Stage>();

export const HOLDERS: readonly Holder[] = [hostMapping, longTermPin, mockDevice];

/** Pages of the whole host that are pinned now (pin_user_pages); null if the kernel does not count them, or not for us. */
export function pinnedPages(): number | null {
  try {
    // Each CPU counts by itself, and reading this adds it up (Documentation/admin-guide/sysctl/vm.rst); for root only.
    readFileSync('/proc/sys/vm/stat_refresh');
  } catch {
    return null;
  }
  const text = readFileSync('/proc/vmstat', 'utf8');
  const count = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? NaN);
  const pinned = count('nr_foll_pin_acquired') - count('nr_foll_pin_released');
  return Number.isNaN(pinned) ? null : pinned;
}
