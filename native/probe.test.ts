import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadNative } from './index.ts';

test('the probe tries everything, says how it went, and leaves nothing open', () => {
  const native = loadNative();
  native.probeHost();
  const before = readdirSync('/proc/self/fd').length;
  const { attempts } = native.probeHost();
  expect(readdirSync('/proc/self/fd')).toHaveLength(before);
  expect(Object.keys(attempts)).toEqual(
    expect.arrayContaining([
      'kvm.open',
      'memory.memfd',
      'memory.thp',
      'memory.hugetlb_2m',
      'vfio.open',
      'iommufd.open',
    ]),
  );
  for (const attempt of Object.values(attempts)) {
    expect(attempt.call).toMatch(/^(open|ioctl|fallocate|mmap|memfd_create|ftruncate|madvise|cachestat|write)/);
    expect(attempt.errno).toBeGreaterThanOrEqual(0);
    if (attempt.errno > 0) expect(attempt).not.toHaveProperty('value');
  }
  if (attempts['kvm.open']?.errno === 0) {
    expect(attempts['kvm.api_version']?.value).toBe(12);
    for (let type = 0; type <= 5; type++) expect(attempts).toHaveProperty([`kvm.vm.${type}`]);
  } else {
    expect(Object.keys(attempts).filter((key) => /^(kvm|gmem)\./.test(key))).toEqual(['kvm.open']);
  }
});
