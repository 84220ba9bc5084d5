import { DMA_EVENTS } from './dma-events.ts';
import { EventTable, type QemuEvent } from './event.ts';
import { KVM_EVENTS } from './kvm-events.ts';

/** QEMU's events that become rows; all others are skipped. */
export const QEMU_EVENTS: readonly QemuEvent[] = [...KVM_EVENTS, ...DMA_EVENTS];

export const QEMU_EVENT_TABLE = new EventTable(QEMU_EVENTS);
