// Logins of a person who agrees to everything, for the scenarios `auth/*`: the client's own, and the gateway's.
import { UnauthorizedError } from '@modelcontextprotocol/client';

// A scenario that never grants enough is over after so many.
const MOST = 3;

// Where the authorization server sends the browser that it lets in.
async function answer(authorizationUrl) {
  const response = await fetch(authorizationUrl, { redirect: 'manual' });
  const location = response.headers.get('location');
  if (!location) throw new Error(`the authorization server answered ${response.status}: ${await response.text()}`);
  return new URL(location, authorizationUrl);
}

// The official client as an OAuth client.
class Account {
  redirectUrl = 'http://localhost:3000/callback';
  clientMetadataUrl = 'https://conformance-test.local/client-metadata.json';
  clientMetadata = {
    client_name: 'conformance-client',
    redirect_uris: [this.redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  };
  #clients = new Map();
  #tokens = new Map();
  #last;
  #verifier;
  authorizationUrl;

  constructor(context) {
    const { client_id, client_secret, issuer } = context;
    if (client_id) this.#clients.set(issuer, { client_id, client_secret });
  }
  clientInformation({ issuer } = {}) {
    return this.#clients.get(issuer);
  }
  saveClientInformation(client, { issuer } = {}) {
    this.#clients.set(issuer, client);
  }
  tokens(context) {
    return context ? this.#tokens.get(context.issuer) : this.#last;
  }
  saveTokens(tokens, { issuer } = {}) {
    this.#tokens.set(issuer, tokens);
    this.#last = tokens;
  }
  redirectToAuthorization(url) {
    this.authorizationUrl = url;
  }
  saveCodeVerifier(verifier) {
    this.#verifier = verifier;
  }
  codeVerifier() {
    return this.#verifier;
  }
}

// The client logs in by itself.
export class OwnLogin {
  #left = MOST;

  constructor(context) {
    this.authProvider = new Account(context);
  }
  async before() {}
  // Whether it is worth trying again.
  async after(error, transport) {
    if (!(error instanceof UnauthorizedError) || this.#left-- === 0) return false;
    const { searchParams } = await answer(this.authProvider.authorizationUrl);
    await transport.finishAuth(searchParams);
    return true;
  }
}

// Somebody lets the gateway in, and the client sees nothing of it but errors that say that it is needed.
export class GatewayLogin {
  #left = MOST;
  #gateway;
  #wish;

  constructor(gateway, { client_id, client_secret }) {
    this.#gateway = gateway;
    this.#wish = client_id
      ? { client_id, client_secret }
      : { client_metadata_url: 'https://conformance-test.local/client-metadata.json' };
  }
  async before() {
    await this.#login();
  }
  async after(error) {
    // A refusal by HTTP has the JSON-RPC error as its text.
    const data = error.data?.text ? JSON.parse(error.data.text).error.data : error.data;
    const needed = ['required', 'insufficient_scope'].includes(data?.authorization);
    return needed && this.#left > 0 && (await this.#login());
  }
  async #login() {
    this.#left -= 1;
    const { servers } = await (await fetch(`${this.#gateway}/api/v1/servers`)).json();
    const login = `${this.#gateway}/api/v1/servers/${servers[0].id}/credentials/login`;
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${process.env.CONFORMANCE_TOKEN}` };
    const begun = await fetch(login, { method: 'POST', headers, body: JSON.stringify(this.#wish) });
    if (!begun.ok) return said('the login did not begin', begun);
    const callback = await answer((await begun.json()).authorization_url);
    const asked = await fetch(callback);
    if (!asked.ok) return said('the page does not ask', asked);
    // The form's button.
    const action = /<form method="post" action="([^"]*)"/.exec(await asked.text())[1].replaceAll('&amp;', '&');
    const finished = await fetch(new URL(action, callback), { method: 'POST' });
    return finished.ok || said('the login did not end', finished);
  }
}

async function said(what, response) {
  console.error(`${what}: ${response.status} ${await response.text()}`);
  return false;
}
