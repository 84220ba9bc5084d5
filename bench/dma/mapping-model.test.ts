import { describe, expect, it } from 'vitest';
import { MappingModel, type MappingRules } from './mapping-model.ts';

const K = 1024;

/** 64K and 2M side by side, the second with a border that an unmap may miss. */
function mapped(rules: MappingRules): MappingModel {
  const model = new MappingModel(rules);
  model.map(0, 64 * K);
  model.map(64 * K, 2048 * K);
  return model;
}

describe('mapping rules', () => {
  it('type1 refuses an edge inside a mapping and unmaps nothing', () => {
    const model = mapped('type1');
    expect(model.unmap(0, 68 * K)).toEqual({ errno: 'EINVAL', bytes: 0 });
    expect(model.unmap(4 * K, 60 * K)).toEqual({ errno: 'EINVAL', bytes: 0 });
    expect(model.mappedBytes).toBe(2112 * K);
    expect(model.unmap(0, 4096 * K)).toEqual({ errno: '', bytes: 2112 * K });
    expect(model.unmap(0, 4096 * K)).toEqual({ errno: '', bytes: 0 });
  });

  it('iommufd unmaps what comes before the misfit', () => {
    const model = mapped('iommufd');
    expect(model.unmap(0, 68 * K)).toEqual({ errno: 'ENOENT', bytes: 64 * K });
    expect(model.sizeAt(0)).toBe(0);
    expect(model.sizeAt(64 * K)).toBe(2048 * K);
    expect(model.unmap(0, 64 * K)).toEqual({ errno: 'ENOENT', bytes: 0 });
  });

  it('the compatibility mode is as iommufd, but nothing there is no failure', () => {
    const model = mapped('iommufd-compat');
    expect(model.unmap(0, 68 * K)).toEqual({ errno: 'ENOENT', bytes: 64 * K });
    expect(model.unmap(0, 64 * K)).toEqual({ errno: '', bytes: 0 });
  });

  it('without large pages it cuts on both sides', () => {
    const model = mapped('iommufd-cut');
    expect(model.unmap(32 * K, 64 * K)).toEqual({ errno: '', bytes: 64 * K });
    expect([model.sizeAt(0), model.sizeAt(32 * K), model.sizeAt(96 * K)]).toEqual([32 * K, 0, 2016 * K]);
    expect(model.mappedBytes).toBe(2048 * K);
    expect(model.count).toBe(2);
  });

  it('refuses overlaps, and more mappings than there may be', () => {
    const model = new MappingModel('type1', 2);
    expect(model.map(0, 8 * K).errno).toBe('');
    expect(model.map(4 * K, 8 * K).errno).toBe('EEXIST');
    expect(model.map(8 * K, 4 * K).errno).toBe('');
    expect(model.map(64 * K, 4 * K).errno).toBe('ENOSPC');
    expect(model.clear()).toBe(12 * K);
    expect([model.count, model.peak, model.mappedBytes]).toEqual([0, 2, 0]);
  });
});
