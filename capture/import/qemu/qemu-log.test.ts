import { describe, expect, it } from 'vitest';
import { checkFormat } from '../testing/check-format.ts';
import { importBytes } from '../testing/import-bytes.ts';
import { qemuLogFormat } from './qemu-log.ts';

describe('QEMU log', () => {
  checkFormat(qemuLogFormat);

  it('keeps the row of a last line without a newline, without the number that may go on', () => {
    const whole = 'kvm_memory_fault start 0x1000 size 0x2000 flags 0x8';
    expect(importBytes(qemuLogFormat, whole).rows).toEqual(['exit_memory_fault gpa=0x1000 len=0x2000']);
    expect(importBytes(qemuLogFormat, `${whole}\n`).rows).toEqual([
      'exit_memory_fault gpa=0x1000 len=0x2000 flags=0x8',
    ]);
    const unmap = 'iommufd_backend_unmap_dma  iommufd=3 ioas=1 iova=0x1000 size=0x1000 (-2';
    expect(importBytes(qemuLogFormat, unmap).rows).toEqual([]);
  });

  it('takes words for what they are, however many there are', () => {
    const noise = Array.from({ length: 1000 }, (_, i) => `word${i} 0x${i.toString(16)}@ 2027-99-99T99:99:99Z`).join(
      ' ',
    );
    const { rows, troubles } = importBytes(qemuLogFormat, `${noise}\n`);
    expect(rows).toEqual([]);
    expect(troubles).toEqual([{ kind: 'other line', skipped: true, count: 1, lines: [1] }]);
  });
});
