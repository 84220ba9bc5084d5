import { describe, expect, it } from 'vitest';
import { labShell } from './testing/run-lab.ts';

/** Runs the tests that need the lab's kernel in it, and returns vitest's own count. */
function inside(options: readonly string[], files: string): { readonly passed: number; readonly text: string } {
  const { status, stdout, stderr } = labShell(
    `node node_modules/vitest/vitest.mjs run --config vitest.inside.config.ts --no-color ${files}`,
    { options },
  );
  const text = `${stdout}${stderr}`;
  expect(status, text).toBe(0);
  return { passed: Number(/Tests .*?(\d+) passed/.exec(text)?.[1] ?? 0), text };
}

describe('operations on the lab', () => {
  it('the mock of iommufd, where no IOMMU is', () => {
    expect(inside(['--iommu', 'none'], 'native/dma-mock').passed).toBeGreaterThan(10);
  });

  it('a device behind VT-d', () => {
    expect(inside(['--iommu', 'vtd'], 'native/dma-device').passed).toBeGreaterThan(5);
  });

  it('a device behind VT-d, on a kernel that has VFIO and no iommufd', () => {
    expect(inside(['--iommu', 'vtd', '--kernel', '6.1'], 'native/dma-device').passed).toBeGreaterThan(3);
  });

  it('vCPUs that run a guest', () => {
    expect(inside(['--iommu', 'none'], 'native/guest-run').passed).toBeGreaterThan(10);
  });
});
