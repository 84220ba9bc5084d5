import { describe } from 'vitest';
import { checkFormat } from '../testing/check-format.ts';
import { csvFormat } from './csv.ts';
import { jsonlFormat } from './jsonl.ts';

describe('CSV', () => checkFormat(csvFormat));
describe('JSON Lines', () => checkFormat(jsonlFormat));
