import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { CvmtraceError, PACKAGE_ROOT } from '../../native/index.ts';
import { FORMAT_VERSION, type TraceMetadata } from './metadata.ts';

/** The published JSON Schema of the metadata. */
export const METADATA_SCHEMA_PATH = join(PACKAGE_ROOT, 'capture', 'trace', 'metadata.schema.json');

/** A trace's metadata is a few KiB; a slot or a left-out step more does not make it this long. */
const MAX_JSON_CHARACTERS = 8 * 1024 * 1024;

let compiled: ValidateFunction<TraceMetadata> | undefined;

function validator(): ValidateFunction<TraceMetadata> {
  if (!compiled) {
    const schema = JSON.parse(readFileSync(METADATA_SCHEMA_PATH, 'utf8')) as Record<string, unknown>;
    compiled = new Ajv2020({ allowUnionTypes: true }).compile<TraceMetadata>(schema);
  }
  return compiled;
}

/** The first way in which a value differs from the metadata's JSON Schema, as "/clock/baseNs must be string"; undefined if it does not. */
export function metadataProblem(value: unknown): string | undefined {
  const validate = validator();
  if (validate(value)) return undefined;
  const error = validate.errors?.[0];
  return `${error?.instancePath || '/'} ${error?.message ?? 'is not valid'}`;
}

/**
 * Parses and checks the metadata of the trace at `path`. Keys that this version does not know are kept.
 * @throws CvmtraceError BAD_INPUT if it is not JSON, not as its JSON Schema says, or of another major version.
 */
export function parseMetadata(json: string, path: string): TraceMetadata {
  if (json.length > MAX_JSON_CHARACTERS)
    throw new CvmtraceError('BAD_INPUT', `metadata of ${json.length} characters in ${path}`, { path });
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new CvmtraceError('BAD_INPUT', `the metadata of ${path} is not JSON`, { path, cause });
  }
  const version = versionOf(value);
  if (version !== undefined && version.major !== FORMAT_VERSION.major) {
    throw new CvmtraceError(
      'BAD_INPUT',
      `${path} has trace format ${version.major}.${version.minor}${version.writer}, this cvmtrace reads format ${FORMAT_VERSION.major}`,
      { path, hint: 'upgrade cvmtrace, or export the trace with the version that wrote it' },
    );
  }
  const validate = validator();
  if (!validate(value)) {
    throw new CvmtraceError('BAD_INPUT', `metadata of ${path}: ${metadataProblem(value) ?? 'not valid'}`, { path });
  }
  return value;
}

function versionOf(value: unknown): { major: number; minor: number; writer: string } | undefined {
  if (!isObject(value) || !isObject(value.format)) return undefined;
  const { major, minor } = value.format;
  if (!Number.isSafeInteger(major) || typeof major !== 'number') return undefined;
  const tool = isObject(value.tool) && typeof value.tool.version === 'string' ? value.tool.version : undefined;
  return {
    major,
    minor: typeof minor === 'number' ? minor : 0,
    writer: tool === undefined ? '' : ` (written by cvmtrace ${tool.slice(0, 40)})`,
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
