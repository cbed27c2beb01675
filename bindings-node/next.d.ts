/**
 * Tells Next.js to load the addon as it is, instead of bundling it:
 * `export default withMcpGateway({ … })` in `next.config.ts`.
 */
export declare function withMcpGateway<Config extends object>(nextConfig?: Config): Config & { serverExternalPackages: string[] }
