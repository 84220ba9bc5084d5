import type { DmaInterface } from '../../capture/dma/target.ts';
import { type ExecutedBatch, OPS, type OpName } from '../../native/index.ts';
import { MappingModel, rulesOf } from '../dma/mapping-model.ts';

const MAPS: ReadonlySet<OpName> = new Set(['vfio_map_dma', 'iommufd_ioas_map']);
const UNMAPS: ReadonlySet<OpName> = new Set(['vfio_unmap_dma', 'iommufd_ioas_unmap']);

/** Takes over into the model of an address space what rows did to it. */
export class DmaMappings {
  readonly #model: MappingModel;

  constructor(dma: DmaInterface) {
    this.#model = new MappingModel(rulesOf(dma));
  }

  /** Most mappings at any time; each map is one, however many pages it has. */
  get peak(): number {
    return this.#model.peak;
  }

  /** Mappings and bytes that are mapped now. */
  get live(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#model.count, bytes: this.#model.mappedBytes };
  }

  applyRows({ rows, op, errno, columns }: ExecutedBatch): void {
    for (let row = 0; row < rows; row++) {
      const name = OPS[op[row] ?? 0] ?? 'mark';
      const iova = Number(columns.iova[row]);
      const len = Number(columns.len[row]);
      if (MAPS.has(name) && errno[row] === 0) this.#model.map(iova, len);
      // One that failed may have unmapped a part, as the interface's rules say.
      else if (UNMAPS.has(name)) this.#model.unmap(iova, len);
    }
  }
}
