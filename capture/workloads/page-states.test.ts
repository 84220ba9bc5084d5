import { expect, it } from 'vitest';
import { PAGE_BYTES } from '../request.ts';
import { convert, mark, read, write } from './requests.ts';
import { PageStates } from './testing/page-states.ts';

const page = (number: number, pages = 1) => ({ gpa: number * PAGE_BYTES, len: pages * PAGE_BYTES });

// The model judges the workloads, so it is shown to refuse: each of these is one rule broken.
it.each([
  ['use of unaccepted memory', [read(page(0), 'shared')], /touches page 0, which is unaccepted/],
  [
    'use of the other side',
    [convert(page(0), 'private'), write(page(0), 'shared')],
    /touches page 0, which is private/,
  ],
  ['a conversion to where a page of it is', [convert(page(1), 'private'), convert(page(0, 2), 'private')], /page 1/],
  ['sharing what was not accepted', [convert(page(0), 'shared')], /shares unaccepted page 0/],
  ['memory that is not there', [convert(page(3, 2), 'private')], /is no range of pages/],
  ['an empty range', [convert(page(0, 0), 'private')], /is no range of pages/],
  ['half a page', [convert({ gpa: 0, len: 2048 }, 'private')], /is no range of pages/],
])('refuses %s', (_, requests, message) => {
  const states = new PageStates(4 * PAGE_BYTES);
  expect(() => {
    for (const request of requests) states.apply(request);
  }).toThrow(message);
});

it('counts the bytes in each state', () => {
  const states = new PageStates(4 * PAGE_BYTES);
  for (const request of [
    mark('m'),
    convert(page(0, 3), 'private'),
    convert(page(1), 'shared'),
    write(page(1), 'shared'),
  ])
    states.apply(request);
  expect([states.bytes('unaccepted'), states.bytes('private'), states.bytes('shared')]).toEqual([4096, 8192, 4096]);
});
