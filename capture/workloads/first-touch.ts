import { PAGE_BYTES } from '../request.ts';
import { convert, mark, STEP_BYTES, write } from './requests.ts';
import { defineWorkload } from './workload.ts';

export const firstTouch = defineWorkload({
  name: 'first-touch',
  summary: 'memory used without asking: the fault on the first page of each chunk asks',
  imitates: {
    what: 'a guest that just uses memory as private: KVM exits with a memory fault, and the VMM converts the range',
    source: 'Documentation/virt/kvm/api.rst, KVM_EXIT_MEMORY_FAULT; QEMU converts such faults too (kvm_convert_memory)',
  },
  faults: true,
  parameters: [
    {
      name: 'chunk',
      summary: 'memory that one fault makes private',
      unit: 'bytes',
      default: STEP_BYTES,
      min: PAGE_BYTES,
      max: 2 ** 30,
    },
    { name: 'chunks', summary: 'number of chunks', unit: 'count', default: 64, min: 1, max: 16_000 },
    { name: 'think', summary: 'mean pause before a chunk', unit: 'ns', default: 50_000, min: 0, max: 1e9 },
  ],
  requiredBytes: ({ chunk, chunks }) => chunk * chunks,
  *requests(random, _memoryBytes, { chunk, chunks, think }) {
    yield mark('first-touch');
    const numbers = random.shuffled(Array.from({ length: chunks }, (_, number) => number));
    for (const number of numbers) {
      const range = { gpa: number * chunk, len: chunk };
      yield { ...convert(range, 'private', random.pauseNs(think)), trigger: 'exit_memory_fault' };
      yield write({ gpa: range.gpa, len: Math.min(chunk, 4 * PAGE_BYTES) }, 'private');
    }
  },
});
