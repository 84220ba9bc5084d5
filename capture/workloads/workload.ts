/**
 * Workloads: what guests are known to ask of their host, as pure seeded generators. They do nothing to the host and know nothing of it; a session
 * runs their requests through a strategy. The same name, memory, seed and parameters give the same requests for ever.
 *
 * Every stream starts from KVM's initial state: all memory shared, nothing accepted. A workload first asks for the memory that it works on to be
 * made private, as a guest does when it accepts it (an SNP guest asks its host, then validates; a TD accepts without asking), so that a trace of
 * it needs no state from outside. A VMM that sets all memory private before the guest starts (QEMU, cloud-hypervisor) answers those requests with
 * a call that changes nothing; that is for the strategy that imitates it. After that, memory is touched only on the side that it is on, and each
 * conversion changes every page of its range.
 *
 * Think time, the pause before a request, is chosen by us: no trace of a boot with its inter-arrival times is published.
 */
import { CvmtraceError } from '../../native/error.ts';
import { PAGE_BYTES, type GuestRequest } from '../request.ts';
import { formatSize } from '../size.ts';
import { completeParameters, type CompleteValues, type Parameter, type ParameterValues } from './parameter.ts';
import { MAX_SEED, Random } from './random.ts';

/** The largest memory that a workload can have, bytes: one page short of 52 bits of guest-physical address. */
const MAX_MEMORY_BYTES = 2 ** 52 - PAGE_BYTES;

export interface WorkloadSettings {
  /** Guest memory from guest-physical address 0, bytes in whole pages. */
  readonly memoryBytes: number;
  /** 0 to 2^32 - 1. */
  readonly seed: number;
  /** What is absent has its default. */
  readonly parameters?: ParameterValues;
}

export interface Workload {
  readonly name: string;
  /** One line for lists and help. */
  readonly summary: string;
  /** The real thing that it imitates, and where that is described. */
  readonly imitates: { readonly what: string; readonly source: string };
  readonly parameters: readonly Parameter[];
  /** True if the guest asks by faulting on memory that it has no slot for yet: each range once, and only to private. */
  readonly faults?: boolean;
  /**
   * The least guest memory that the parameters need, bytes.
   * @throws CvmtraceError USAGE if one is out of range.
   */
  requiredBytes(parameters?: ParameterValues): number;
  /**
   * The requests, lazily; every iteration starts anew. Settings are checked when this is called.
   * @throws CvmtraceError USAGE if a setting is out of range or the memory too small.
   */
  generate(settings: WorkloadSettings): Iterable<GuestRequest>;
}

/** What the parts of a workload are written against: names of parameters are checked by the compiler. */
interface Definition<P extends readonly Parameter[]> extends Omit<
  Workload,
  'generate' | 'parameters' | 'requiredBytes'
> {
  readonly parameters: P;
  /** The least guest memory that the values need, bytes. */
  readonly requiredBytes: (values: CompleteValues<P>) => number;
  readonly requests: (random: Random, memoryBytes: number, values: CompleteValues<P>) => Iterable<GuestRequest>;
}

/** A workload whose settings are checked before its generator sees them. */
export function defineWorkload<const P extends readonly Parameter[]>(definition: Definition<P>): Workload {
  const { requiredBytes, requests, ...described } = definition;
  const owner = `workload ${definition.name}`;
  return {
    ...described,
    requiredBytes: (parameters = {}) => requiredBytes(completeParameters(owner, definition.parameters, parameters)),
    generate({ memoryBytes, seed, parameters = {} }) {
      checkMemory(memoryBytes);
      if (!Number.isSafeInteger(seed) || seed < 0 || seed > MAX_SEED) {
        throw new CvmtraceError('USAGE', `the seed cannot be ${seed}`, {
          hint: `a seed is a whole number from 0 to ${MAX_SEED}`,
        });
      }
      const values = completeParameters(owner, definition.parameters, parameters);
      const required = requiredBytes(values);
      if (memoryBytes < required) {
        throw new CvmtraceError(
          'USAGE',
          `${owner} with these parameters needs ${formatSize(required)} of guest memory, not ${formatSize(memoryBytes)}`,
          { hint: `give it at least --memory ${formatSize(required)}, or smaller parameters` },
        );
      }
      return { [Symbol.iterator]: () => requests(Random.fromSeed(seed), memoryBytes, values)[Symbol.iterator]() };
    },
  };
}

function checkMemory(memoryBytes: number): void {
  const whole = Number.isSafeInteger(memoryBytes) && memoryBytes % PAGE_BYTES === 0;
  if (!whole || memoryBytes < PAGE_BYTES || memoryBytes > MAX_MEMORY_BYTES) {
    throw new CvmtraceError('USAGE', `guest memory cannot be ${formatSize(memoryBytes)}`, {
      hint: `guest memory is a multiple of 4K, from 4K to ${formatSize(MAX_MEMORY_BYTES)}`,
    });
  }
}

/** How many requests a workload has, for progress; generates them all, in constant memory. */
export function countRequests(workload: Workload, settings: WorkloadSettings): number {
  const requests = workload.generate(settings)[Symbol.iterator]();
  let count = 0;
  while (requests.next().done !== true) count++;
  return count;
}
