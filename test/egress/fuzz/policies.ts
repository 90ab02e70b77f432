// The policy by which the fuzzed readers are asked.

import { compilePolicy } from '../../../egress/policy/compile.ts'

export const compiled = compilePolicy({
  defaultAction: 'deny',
  egress: [
    { action: 'deny', target: 'denied.good.example' },
    { action: 'allow', target: 'good.example' },
    { action: 'allow', target: '*.good.example' },
    { action: 'allow', target: '*.tun.example' },
  ],
})
