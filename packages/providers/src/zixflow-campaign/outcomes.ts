/**
 * What the older campaign API's answers mean: `status` and a text, no list of errors
 * (Zixflow campaign API, "Send Reply Button Message", Response). The same rules as for Zixflow's newer API.
 */
export { outcomes, rowOf } from '../zixflow/outcomes.ts'
