import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A bzImage as far as its header goes, with that version text. */
export function fakeImage(version = '6.12.99 (builder@host) #1'): Buffer {
  const image = Buffer.alloc(0x6000);
  image.write('HdrS', 0x202, 'latin1');
  const at = 0x3000;
  image.writeUInt16LE(at - 0x200, 0x20e);
  image.write(`${version}\0`, at, 'latin1');
  return image;
}

/**
 * A kernel tree that real make builds in no time. Its goals look at files beside it, in `folder`, so that what happens can be changed from outside:
 * with a file `broken` or `full` compiling fails, with `slow` it goes on for a minute. Each goal notes in `made` that it ran.
 */
export class FakeKernel {
  readonly tree: string;
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.tree = join(folder, 'linux');
    mkdirSync(join(this.tree, 'arch/x86'), { recursive: true });
    writeFileSync(join(this.tree, 'Kconfig'), '');
    writeFileSync(join(this.tree, 'image'), fakeImage());
    writeFileSync(
      join(this.tree, 'Makefile'),
      `
allnoconfig:
	@echo configured >> ${folder}/made
	@grep -v CONFIG_IOMMUFD_TEST= $(KCONFIG_ALLCONFIG) > $(O)/.config
bzImage:
	@echo '  CC      lib/error-inject.o'
	@test ! -e ${folder}/full || { echo 'cc1: fatal error: No space left on device' >&2; exit 1; }
	@test ! -e ${folder}/broken || { echo 'main.c:1: error: broken' >&2; exit 1; }
	@test ! -e ${folder}/slow || { sleep 60 & echo $$! > ${folder}/sleeping; echo '  CC      slow.o'; wait; }
	@echo '  LD      vmlinux'
	@mkdir -p $(O)/arch/x86/boot
	@cp image $(O)/arch/x86/boot/bzImage
	@echo compiled >> ${folder}/made
`,
    );
  }

  /** The tree as a tarball. */
  tarball(): string {
    const path = join(this.#folder, 'linux.tar');
    execFileSync('tar', ['-cf', path, '-C', this.#folder, 'linux']);
    return path;
  }

  /** Goals that ran, in order. */
  made(): string[] {
    const path = join(this.#folder, 'made');
    return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
  }
}
