import { describe, expect, it } from 'vitest';
import { CvmtraceError } from '../../native/index.ts';
import { formatAxes, parseAxis } from './axes.ts';
import { describeStrategy, parseStrategies, parseStrategy, PRESETS } from './presets.ts';

function failure(run: () => unknown): CvmtraceError {
  try {
    run();
  } catch (error) {
    if (error instanceof CvmtraceError) return error;
  }
  throw new Error('it did not fail as it should');
}

describe('strategies', () => {
  it.each(PRESETS.map((preset) => preset.name))('reads %s, and the axes that it writes back', (name) => {
    const { axes } = describeStrategy(parseStrategy(name));
    const again = Object.entries(axes).reduce((sum, [axis, text]) => ({ ...sum, ...parseAxis(axis, text) }), {});
    expect(again).toEqual(parseStrategy(name).axes);
  });

  it('moves one axis of a preset', () => {
    const strategy = parseStrategy('upm-eager,attributes=4k,discard-shared=lazy:64M/16M');
    expect(formatAxes(strategy.axes)).toEqual({
      attributes: '4k',
      discard: 'request',
      'discard-shared': 'lazy:64M/16M',
      'discard-private': 'eager',
      allocation: 'fault',
      dma: '4k',
      'dma-policy': 'map-shared',
      order: 'convert-unmap',
      backing: 'two-copies',
      interface: 'given',
    });
    expect(strategy.name).toBe('upm-eager,attributes=4k,discard-shared=lazy:64M/16M');
  });

  it('reads a list, in which an axis belongs to the strategy before it', () => {
    const names = parseStrategies('upm-eager, attributes=4k,allocation=allocate,lazy-discard').map(({ name }) => name);
    expect(names).toEqual(['upm-eager,attributes=4k,allocation=allocate', 'lazy-discard']);
  });

  it.each([
    ['upm-eger', 'no strategy', 'did you mean upm-eager?'],
    ['', 'strategy', 'valid: attributes-only'],
    ['upm-eager,atributes=4k', 'strategy axis', 'did you mean attributes?'],
    ['upm-eager,attributes=8k', 'attributes', 'request, 4k, 64k, 2m'],
    ['upm-eager,discard-shared=lazy', 'discard-shared', 'lazy:LIMIT'],
    ['upm-eager,discard-shared=lazy:5000', 'discard-shared', 'lazy:LIMIT'],
    ['upm-eager,discard-shared=lazy:1M/2M', 'discard-shared', 'lazy:LIMIT'],
    ['upm-eager,allocation=', 'allocation', 'fault, allocate'],
  ])('refuses %j', (text, message, hint) => {
    const error = failure(() => parseStrategies(text));
    expect(error.code).toBe('USAGE');
    expect(error.message).toContain(message.replace('no ', ''));
    expect(error.hint).toContain(hint);
  });
});
