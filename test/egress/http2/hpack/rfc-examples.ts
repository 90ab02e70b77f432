// The examples of RFC 7541, appendix C: each a connection whose blocks come one after the other. The contents of the table behind each
// block are asked for by their indexes, the newest first.

export type ExampleBlock = {
  hex: string
  fields: readonly (readonly [name: string, value: string])[]
  table: readonly (readonly [name: string, value: string])[]
  tableBytes: number
}
export type Example = { name: string; tableLimit?: number; blocks: readonly ExampleBlock[] }

const CUSTOM = ['custom-key', 'custom-header'] as const
const AUTHORITY = [':authority', 'www.example.com'] as const
const NO_CACHE = ['cache-control', 'no-cache'] as const
const CUSTOM_VALUE = ['custom-key', 'custom-value'] as const
const GET = [':method', 'GET'] as const
const HTTP = [':scheme', 'http'] as const
const ROOT = [':path', '/'] as const

const ONE_BY_ONE: readonly Example[] = [
  {
    name: 'C.2.1 a literal that is added',
    blocks: [
      {
        hex: '400a637573746f6d2d6b65790d637573746f6d2d686561646572',
        fields: [CUSTOM],
        table: [CUSTOM],
        tableBytes: 55,
      },
    ],
  },
  {
    name: 'C.2.2 a literal that is not added',
    blocks: [
      { hex: '040c2f73616d706c652f70617468', fields: [[':path', '/sample/path']], table: [], tableBytes: 0 },
    ],
  },
  {
    name: 'C.2.3 a literal that is never added',
    blocks: [
      {
        hex: '100870617373776f726406736563726574',
        fields: [['password', 'secret']],
        table: [],
        tableBytes: 0,
      },
    ],
  },
  { name: 'C.2.4 an index', blocks: [{ hex: '82', fields: [GET], table: [], tableBytes: 0 }] },
]

const REQUESTS = [
  { fields: [GET, HTTP, ROOT, AUTHORITY], table: [AUTHORITY], tableBytes: 57 },
  { fields: [GET, HTTP, ROOT, AUTHORITY, NO_CACHE], table: [NO_CACHE, AUTHORITY], tableBytes: 110 },
  {
    fields: [GET, [':scheme', 'https'], [':path', '/index.html'], AUTHORITY, CUSTOM_VALUE],
    table: [CUSTOM_VALUE, NO_CACHE, AUTHORITY],
    tableBytes: 164,
  },
] as const

const PRIVATE = ['cache-control', 'private'] as const
const DATE_21 = ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'] as const
const DATE_22 = ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'] as const
const LOCATION = ['location', 'https://www.example.com'] as const
const FOUND = [':status', '302'] as const
const MOVED = [':status', '307'] as const
const GZIP = ['content-encoding', 'gzip'] as const
const COOKIE = ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'] as const

const ANSWERS = [
  {
    fields: [FOUND, PRIVATE, DATE_21, LOCATION],
    table: [LOCATION, DATE_21, PRIVATE, FOUND],
    tableBytes: 222,
  },
  {
    fields: [MOVED, PRIVATE, DATE_21, LOCATION],
    table: [MOVED, LOCATION, DATE_21, PRIVATE],
    tableBytes: 222,
  },
  {
    fields: [[':status', '200'], PRIVATE, DATE_22, LOCATION, GZIP, COOKIE],
    table: [COOKIE, GZIP, DATE_22],
    tableBytes: 215,
  },
] as const

function connection(
  name: string,
  blocks: readonly Omit<ExampleBlock, 'hex'>[],
  hexes: readonly string[],
  tableLimit?: number,
): Example {
  const all = blocks.map((block, place) => ({ ...block, hex: hexes[place] ?? '' }))
  return { name, blocks: all, ...(tableLimit !== undefined && { tableLimit }) }
}

/** The appendix has the answers with a table of 256 bytes. */
const ANSWERS_LIMIT = 256

export const RFC_EXAMPLES: readonly Example[] = [
  ...ONE_BY_ONE,
  connection('C.3 requests', REQUESTS, [
    '828684410f7777772e6578616d706c652e636f6d',
    '828684be58086e6f2d6361636865',
    '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
  ]),
  connection('C.4 requests in the Huffman code', REQUESTS, [
    '828684418cf1e3c2e5f23a6ba0ab90f4ff',
    '828684be5886a8eb10649cbf',
    '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
  ]),
  connection(
    'C.5 answers, for which entries leave the table',
    ANSWERS,
    [
      '4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d',
      '4803333037c1c0bf',
      '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31',
    ],
    ANSWERS_LIMIT,
  ),
  connection(
    'C.6 answers in the Huffman code, for which entries leave the table',
    ANSWERS,
    [
      '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3',
      '4883640effc1c0bf',
      '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
    ],
    ANSWERS_LIMIT,
  ),
]
