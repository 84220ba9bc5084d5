import { monthNumber, secondsOf, type SecondsAndNs } from '../calendar.ts';

/** Which clock a line's time is of, the time, and the rest of the line. */
export interface TimedLine {
  readonly clock: string;
  readonly time: SecondsAndNs | undefined;
  readonly message: string;
}

/** "[  714.634398] ", perhaps behind a level, and with the caller (CONFIG_PRINTK_CALLER). */
const PRINTK = /^(?:<\d+>)?\[ *(\d{1,10})\.(\d{6})\] ?(?:\[ *[TC]\d+\] ?)?/;
/** dmesg -T: "[Tue Nov 10 12:34:56 2026] ". */
const HUMAN = /^\[\w{3} (\w{3}) +(\d+) (\d\d):(\d\d):(\d\d) (\d{4})\] ?(?:\[ *[TC]\d+\] ?)?/;
/** dmesg --time-format iso, journalctl -o short-iso: "2026-11-10T12:34:56,123456+00:00 ". */
const ISO =
  /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d) (?:\S+ kernel: )?(?:\[ *[TC]\d+\] ?)?/;
/** syslog, journalctl: "Nov 10 12:34:56 host kernel: ", which does not say the year. */
const SYSLOG = /^(\w{3}) +(\d+) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? \S+ kernel: ?/;
/** journalctl -o short-monotonic has a host behind the time. */
const HOST = /^\S+ kernel: /;

/** Only so that a day of February is none of March; no log says it. */
const SOME_LEAP_YEAR = 1972;

/** Reads what stands before a message of the kernel's. Without any time the clock is "unknown". */
export function readLineTime(line: string): TimedLine {
  const printk = printkTime(line);
  if (printk) return { ...printk, message: printk.message.replace(HOST, '') };
  const human = HUMAN.exec(line);
  if (human) {
    const [all, month = '', day = '', hour = '', minute = '', second = '', year = ''] = human;
    const time = secondsOf({ year, month: monthNumber(month), day, hour, minute, second });
    return { clock: 'local time', time, message: line.slice(all.length) };
  }
  const iso = ISO.exec(line);
  if (iso) {
    const [all, year = '', month = '', day = '', hour = '', minute = '', second = '', fraction, zone] = iso;
    const time = secondsOf({ year, month, day, hour, minute, second, fraction, zone });
    return { clock: 'CLOCK_REALTIME', time, message: line.slice(all.length) };
  }
  const syslog = SYSLOG.exec(line);
  if (!syslog) return { clock: 'unknown', time: undefined, message: line };
  const [all, month = '', day = '', hour = '', minute = '', second = '', fraction] = syslog;
  const message = line.slice(all.length);
  // The kernel's own time is the better one.
  const inside = printkTime(message);
  if (inside) return inside;
  const time = secondsOf({ year: SOME_LEAP_YEAR, month: monthNumber(month), day, hour, minute, second, fraction });
  return { clock: 'local time without a year', time, message };
}

function printkTime(text: string): TimedLine | undefined {
  const match = PRINTK.exec(text);
  if (!match) return undefined;
  const [all, seconds = '', fraction = ''] = match;
  return {
    clock: 'printk',
    time: { seconds: Number(seconds), nanoseconds: Number(fraction) * 1000 },
    message: text.slice(all.length),
  };
}
