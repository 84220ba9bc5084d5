import type { StateSink } from './sink.ts';

/** Tells two sinks of the same walk. */
export function teeSink(one: StateSink, other: StateSink): StateSink {
  return {
    slot: (...args) => {
      one.slot(...args);
      other.slot(...args);
    },
    place: (...args) => {
      one.place(...args);
      other.place(...args);
    },
    side: (...args) => {
      one.side(...args);
      other.side(...args);
    },
    hold: (...args) => {
      one.hold(...args);
      other.hold(...args);
    },
    mapping: (...args) => {
      one.mapping(...args);
      other.mapping(...args);
    },
    memory: (...args) => {
      one.memory(...args);
      other.memory(...args);
    },
    request: (...args) => {
      one.request(...args);
      other.request(...args);
    },
    vaddrWindow: (...args) => {
      one.vaddrWindow(...args);
      other.vaddrWindow(...args);
    },
    hazard: (...args) => {
      one.hazard(...args);
      other.hazard(...args);
    },
  };
}
