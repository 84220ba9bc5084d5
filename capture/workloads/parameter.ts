import { CvmtraceError } from '../../native/error.ts';
import { PAGE_BYTES } from '../request.ts';
import { formatSize, parseSize } from '../size.ts';
import { unknownName } from '../unknown-name.ts';

/** One number that a workload can be given as `NAME=VALUE`. */
export interface Parameter {
  readonly name: string;
  readonly summary: string;
  /** `bytes` are whole pages and written 4K, 2M, 1G; `ns` are written with a unit, 150us; the others are whole numbers. */
  readonly unit: 'count' | 'bytes' | 'percent' | 'ns';
  readonly default: number;
  /** Smallest and largest value, both allowed. */
  readonly min: number;
  readonly max: number;
}

/** Values by parameter name; what is absent has its default. */
export type ParameterValues = Readonly<Record<string, number>>;

/** A value for each of the parameters, under its name. */
export type CompleteValues<P extends readonly Parameter[]> = Readonly<Record<P[number]['name'], number>>;

const TIME_UNITS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9 };

/**
 * Values from texts of the form `NAME=VALUE`.
 * @param owner names whose parameters they are, for the errors: "workload swiotlb".
 * @throws CvmtraceError USAGE for another form, a name that is unknown or given twice, and a value that is no such number or out of range.
 */
export function parseParameters(
  owner: string,
  parameters: readonly Parameter[],
  texts: readonly string[],
): ParameterValues {
  const values: Record<string, number> = {};
  for (const text of texts) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
    if (name === undefined || value === undefined) {
      throw new CvmtraceError('USAGE', `"${text}" is not a parameter of ${owner}`, {
        hint: `write NAME=VALUE; ${listParameters(parameters)}`,
      });
    }
    const parameter = parameters.find((candidate) => candidate.name === name);
    if (!parameter) {
      throw unknownName(
        `parameter of ${owner} called`,
        name,
        parameters.map((candidate) => candidate.name),
      );
    }
    if (Object.hasOwn(values, name)) {
      throw new CvmtraceError('USAGE', `parameter ${name} of ${owner} is given twice`, { hint: `keep one ${name}=` });
    }
    values[name] = checkValue(owner, parameter, parseValue(parameter, value), value);
  }
  return values;
}

/**
 * Every parameter's value: the given ones checked, the others by default.
 * @throws CvmtraceError USAGE as parseParameters does.
 */
export function completeParameters<const P extends readonly Parameter[]>(
  owner: string,
  parameters: P,
  given: ParameterValues,
): CompleteValues<P> {
  const names = parameters.map((parameter) => parameter.name);
  for (const name of Object.keys(given)) {
    if (!names.includes(name)) throw unknownName(`parameter of ${owner} called`, name, names);
  }
  const values = parameters.map((parameter) => [
    parameter.name,
    checkValue(owner, parameter, given[parameter.name] ?? parameter.default),
  ]);
  // Object.fromEntries forgets which names there are; all of them are, one line above.
  return Object.fromEntries(values) as CompleteValues<P>;
}

/** A value in the form that parseParameters reads: 64M, 150us, 25. */
export function formatParameter(parameter: Parameter, value: number): string {
  switch (parameter.unit) {
    case 'bytes':
      return formatSize(value);
    case 'ns': {
      const [unit, factor] = Object.entries(TIME_UNITS).findLast(([, size]) => value >= size && value % size === 0) ?? [
        '',
        1,
      ];
      return `${value / factor}${unit}`;
    }
    case 'count':
    case 'percent':
      return String(value);
  }
}

function listParameters(parameters: readonly Parameter[]): string {
  return `valid: ${parameters.map((parameter) => parameter.name).join(', ')}`;
}

function parseValue(parameter: Parameter, text: string): number {
  switch (parameter.unit) {
    case 'bytes':
      return parseSize(text) ?? NaN;
    case 'ns': {
      const [, digits, unit = ''] = /^(\d+)(ns|us|ms|s)$/.exec(text === '0' ? '0ns' : text) ?? [];
      return Number(digits) * (TIME_UNITS[unit] ?? NaN);
    }
    case 'count':
    case 'percent':
      return /^\d+$/.test(text) ? Number(text) : NaN;
  }
}

function checkValue(
  owner: string,
  parameter: Parameter,
  value: number,
  text = formatParameter(parameter, value),
): number {
  const whole = Number.isSafeInteger(value) && (parameter.unit !== 'bytes' || value % PAGE_BYTES === 0);
  if (whole && value >= parameter.min && value <= parameter.max) return value;
  throw new CvmtraceError('USAGE', `${owner}: ${parameter.name} cannot be "${text}"`, {
    hint: `${parameter.name} takes ${describeRange(parameter)}`,
  });
}

/** What a parameter takes, in words: "whole pages (multiples of 4K) from 4K to 1G". */
export function describeRange(parameter: Parameter): string {
  const range = `from ${formatParameter(parameter, parameter.min)} to ${formatParameter(parameter, parameter.max)}`;
  switch (parameter.unit) {
    case 'bytes':
      return `a size in whole pages (multiples of 4K) ${range}`;
    case 'ns':
      return `a time with its unit (ns, us, ms, s) ${range}`;
    case 'percent':
    case 'count':
      return `a whole number ${range}`;
  }
}
