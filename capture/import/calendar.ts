const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Number of a month by its English name of three letters, from 1; 0 for another text. */
export function monthNumber(name: string): number {
  return MONTHS.indexOf(name) + 1;
}

/** A time of the calendar, its parts as a log has them in digits. `fraction` is of the second, without its dot. */
export interface CalendarTime {
  readonly year: string | number;
  /** From 1. */
  readonly month: string | number;
  readonly day: string | number;
  readonly hour: string | number;
  readonly minute: string | number;
  readonly second: string | number;
  readonly fraction?: string | undefined;
  /** "Z", "+0100", "+01:00"; without it the seconds count as if the log's zone were UTC. */
  readonly zone?: string | undefined;
}

export interface SecondsAndNs {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** Seconds since 1970; undefined if it is no time. */
export function secondsOf(time: CalendarTime): SecondsAndNs | undefined {
  const { year, month, day, hour, minute, second, fraction = '', zone = '' } = time;
  const ms = Date.UTC(+year, +month - 1, +day, +hour, +minute, +second);
  if (Number.isNaN(ms)) return undefined;
  const offset = /^([+-])(\d\d):?(\d\d)$/.exec(zone);
  const east = offset ? (offset[1] === '-' ? -60 : 60) * (Number(offset[2]) * 60 + Number(offset[3])) : 0;
  return { seconds: ms / 1000 - east, nanoseconds: Number(fraction.padEnd(9, '0').slice(0, 9)) };
}
