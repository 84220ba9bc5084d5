/** The rows of one trace that change what is live, in the order of seq, one at a time in the same object. */
import type { Chunk, ResultColumn } from '../db/chunk.ts';

/** Numbers that a row does not have are -1, `result` is NaN. Addresses are whole pages, which doubles hold exactly up to 2^64. */
export class StateRow {
  seq = -1;
  /** ns since the clock base. */
  ts = -1;
  dur = -1;
  /** Process and thread as one number. */
  thread = -1;
  pid = -1;
  tid = -1;
  vcpu = -1;
  op = '';
  obj = -1;
  gpa = -1;
  hva = -1;
  iova = -1;
  offset = -1;
  len = -1;
  /** Low and high half of `attrs`. */
  attrs = -1;
  attrsHigh = 0;
  /** Low half of `flags`. */
  flags = -1;
  result = NaN;
  errno = 0;
  /** A ram object that stands for the private side. */
  isPrivate = false;

  /** ns of the end of the call, or -1. */
  get end(): number {
    return this.ts < 0 ? -1 : this.ts + Math.max(0, this.dur);
  }
}

/** Operations that the walk looks at. */
export const STATE_OPS = [
  'exit_map_gpa_range',
  'exit_memory_fault',
  'kvm_create_vm',
  'kvm_create_guest_memfd',
  'kvm_set_user_memory_region',
  'kvm_set_user_memory_region2',
  'kvm_set_memory_attributes',
  'kvm_set_memory_attributes2',
  'kvm_convert_memory',
  'kvm_pre_fault_memory',
  'ram_create',
  'ram_allocate',
  'ram_punch_hole',
  'ram_madvise',
  'ram_touch',
  'gmem_allocate',
  'gmem_punch_hole',
  'gmem_touch',
  'guest_touch',
  'vfio_map_dma',
  'vfio_unmap_dma',
  'vfio_set_iommu',
  'vfio_iommu_get_info',
  'vfio_attach_iommufd_pt',
  'iommufd_open',
  'iommufd_ioas_alloc',
  'iommufd_ioas_map',
  'iommufd_ioas_map_file',
  'iommufd_ioas_unmap',
  'iommufd_ioas_copy',
  'iommufd_destroy',
  'iommufd_vfio_ioas',
  'iommufd_test_mock_domain',
  'iommu_map',
  'iommu_unmap',
  'iommu_fault',
  'vfio_user_dma_map',
  'vfio_user_dma_unmap',
  'vfio_listener_region_add',
  'vfio_listener_region_del',
  'mmap',
  'munmap',
  'close',
  'lost',
] as const;

const unknown = (sql: string): string => `coalesce((${sql})::double, -1)`;

/** What the walk selects of each row; the order is that of `load`. */
export const STATE_COLUMNS = [
  'seq::double',
  unknown('_known_ns(ts_ns)'),
  unknown('_known_ns(dur_ns)'),
  unknown('pid'),
  unknown('tid'),
  unknown('vcpu'),
  'op',
  unknown('obj'),
  unknown('gpa'),
  unknown('hva'),
  unknown('iova'),
  unknown('"offset"'),
  unknown('len'),
  unknown('attrs & 4294967295'),
  'coalesce((attrs >> 32)::double, 0)',
  unknown('flags & 4294967295'),
  `coalesce(result::double, 'nan'::double)`,
  'errno',
  `coalesce(detail = 'private', false)`,
].join(', ');

export const STATE_WHERE = `op in (${STATE_OPS.map((op) => `'${op}'`).join(', ')})`;

/** Steps through chunks of the select above. */
export class StateRows {
  readonly row = new StateRow();
  readonly #names: readonly string[];
  #columns: readonly ArrayLike<number>[] = [];

  constructor(columns: readonly ResultColumn[]) {
    this.#names = columns[6]?.dictionary ?? [];
  }

  take(chunk: Chunk): void {
    this.#columns = chunk.columns.map(({ values }) => values as ArrayLike<number>);
  }

  /** Makes `row` the row of this index of the chunk. */
  load(index: number): StateRow {
    const { row } = this;
    const columns = this.#columns;
    const value = (column: number): number => (columns[column] as ArrayLike<number>)[index] as number;
    row.seq = value(0);
    row.ts = value(1);
    row.dur = value(2);
    row.pid = value(3);
    row.tid = value(4);
    row.thread = row.pid * 4294967296 + row.tid;
    row.vcpu = value(5);
    row.op = this.#names[value(6)] ?? '';
    row.obj = value(7);
    row.gpa = value(8);
    row.hva = value(9);
    row.iova = value(10);
    row.offset = value(11);
    row.len = value(12);
    row.attrs = value(13);
    row.attrsHigh = value(14);
    row.flags = value(15);
    row.result = value(16);
    row.errno = value(17);
    row.isPrivate = value(18) !== 0;
    return row;
  }
}
