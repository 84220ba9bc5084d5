/**
 * Both sides are memfds: for hosts without /dev/kvm. It stands in for a guest_memfd: memfd pages can be swapped and are not unmapped from a guest
 * when they are punched, so its numbers say "stand-in" wherever they appear.
 */
import { RamFlag } from '../../native/index.ts';
import { PAGE_BYTES } from '../request.ts';
import { type Backend, type BackendKind, ObjectNumber, slotsEnd } from './backend.ts';
import { tryOperations, unavailable } from './trial.ts';

const NAME = 'two-memfd';
const SUMMARY = 'needs no KVM: both sides are memfds, and the private one stands in for a guest_memfd';

export const twoMemfd: BackendKind = {
  name: NAME,
  summary: SUMMARY,
  async open(native): Promise<Backend> {
    const [create] = await tryOperations(native, [
      ['ram_create', { obj: ObjectNumber.private, len: PAGE_BYTES, flags: RamFlag.memfd }, 'private'],
    ]);
    if (!create) throw new Error('a row for each operation');
    if (create.errno !== 0) throw unavailable(NAME, create, 'cannot make a memfd', {});
    return {
      name: NAME,
      summary: SUMMARY,
      standIn: true,
      vmType: null,
      guest: null,
      dma: null,
      abilities: {
        attributes: false,
        inPlace: false,
        preFault: false,
        privateTouch: true,
        privateKind: 'ram',
        sharedFile: true,
      },
      leftOut: [
        { step: 'guest-memfd', reason: 'the private side is a memfd that stands in for a guest_memfd' },
        { step: 'attributes', reason: 'there is no VM whose attributes could be set' },
        { step: 'vcpu-exit', reason: 'no guest runs: a stall has neither the exit nor the entry of a vCPU in it' },
      ],
      setUp(batch, { slots }) {
        const len = slotsEnd(slots);
        batch.push('ram_create', { obj: ObjectNumber.shared, len, flags: RamFlag.memfd }, 'shared');
        batch.push('ram_create', { obj: ObjectNumber.private, len, flags: RamFlag.memfd }, 'private');
      },
    };
  },
};
