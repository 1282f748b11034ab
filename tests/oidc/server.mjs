// A real OpenID provider, which nobody here wrote, for the integration tests: the issuer of callers' tokens (JWT access
// tokens, RFC 9068) and the token endpoint of a `client_secret` credential.
//
// Goes in:  --port N (default 0: any free one), loopback only; --certificate ALG:FILE, any number of times: a client named
//           certified-ALG that proves itself by assertions signed so with the key of that certificate (private_key_jwt);
//           --device-seconds N: how long a device code is good (default 600).
// Comes out: one JSON line on standard output once it listens, which tests/it/provider.rs reads.
// It ends when its standard input ends, so that a test that was killed leaves nothing behind.
//
// The `resource` of a token request (RFC 8707) chooses audience and algorithm; without one it is the first of the list.
// Secrets are awkward on purpose: RFC 6749 section 2.3.1 form-encodes them before Basic, and most clients forget it.
// Non-ASCII secrets cannot be tried here: the provider allows the VSCHAR of RFC 6749 appendix A.2 only.

import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import Provider, { errors } from 'oidc-provider';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    certificate: { type: 'string', multiple: true, default: [] },
    'device-seconds': { type: 'string', default: '600' },
  },
});

const AWKWARD = 'a~b+c/d&e%f=g:h%2Bi j"k\\l?m#n;o,p';

const RESOURCES = {
  'https://resource.example/rs256': { audience: 'flowgate', alg: 'RS256', seconds: 3600 },
  'https://resource.example/es256': { audience: 'flowgate', alg: 'ES256', seconds: 3600 },
  'https://resource.example/ps256': { audience: 'flowgate', alg: 'PS256', seconds: 3600 },
  'https://resource.example/other-audience': { audience: 'somebody-else', alg: 'RS256', seconds: 3600 },
  'https://resource.example/short': { audience: 'flowgate', alg: 'RS256', seconds: 60 },
};

const client = (client_id, client_secret, token_endpoint_auth_method) => ({
  client_id,
  client_secret,
  token_endpoint_auth_method,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
});

const CLIENTS = [
  client('plain-basic', 'no-surprises-here', 'client_secret_basic'),
  client('plain-post', 'no-surprises-here', 'client_secret_post'),
  client('awkward-basic', AWKWARD, 'client_secret_basic'),
  client('awkward-post', AWKWARD, 'client_secret_post'),
  client('id:with+odd/marks%&=~', AWKWARD, 'client_secret_basic'),
];

// People sign in for it, in the provider's own development pages: any name, any password. Public, so each refresh token is good
// for one use, and a second use revokes what came of it.
const NATIVE = {
  client_id: 'planner',
  token_endpoint_auth_method: 'none',
  application_type: 'native',
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  redirect_uris: ['http://localhost'],
  response_types: ['code'],
};

const CERTIFIED = values.certificate.map((given) => {
  const [alg, file] = given.split(':');
  const { publicKey } = new X509Certificate(readFileSync(file));
  return {
    ...client(`certified-${alg}`, undefined, 'private_key_jwt'),
    token_endpoint_auth_signing_alg: alg,
    jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), alg, use: 'sig', kid: alg }] },
  };
});

// Standard output carries the ready line and nothing else: the provider's own notices join the warnings.
console.info = console.warn;

// Fresh keys at every start: none is worth keeping.
const privateJwk = (kid, alg, type, options) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  kid,
  alg,
  use: 'sig',
});

const http = createServer();
http.listen(Number(values.port), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${http.address().port}`;
  const provider = new Provider(issuer, {
    clients: [...CLIENTS, ...CERTIFIED, NATIVE],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    jwks: {
      keys: [
        privateJwk('rsa-1', 'RS256', 'rsa', { modulusLength: 2048 }),
        privateJwk('pss-1', 'PS256', 'rsa', { modulusLength: 2048 }),
        privateJwk('ec-1', 'ES256', 'ec', { namedCurve: 'P-256' }),
      ],
    },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    scopes: ['openid', 'offline_access', 'call', 'read'],
    ttl: { DeviceCode: Number(values['device-seconds']) },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => Object.keys(RESOURCES)[0],
        getResourceServerInfo: (_ctx, resource) => {
          const wanted = RESOURCES[resource];
          if (!wanted) throw new errors.InvalidTarget();
          return {
            scope: 'call read',
            audience: wanted.audience,
            accessTokenFormat: 'jwt',
            accessTokenTTL: wanted.seconds,
            jwt: { sign: { alg: wanted.alg } },
          };
        },
      },
    },
  });

  // The provider names no interval, so whoever waits asks every 5 seconds (RFC 8628 section 3.2). For tests that cannot wait so long:
  // its own answer, with another interval and, where one is given, another life. POST /-/device/INTERVAL[/SECONDS]
  const hurried = async (request, response) => {
    const [interval, seconds] = request.url.split('/').slice(3).map(Number);
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const answer = await fetch(`${issuer}/device/auth`, {
      method: 'POST',
      headers: { 'content-type': request.headers['content-type'] },
      body: Buffer.concat(pieces),
    });
    const body = { ...await answer.json(), interval, ...(seconds && { expires_in: seconds }) };
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };

  // Counted here, so that a test can ask how often the gateway came by: GET /-/counts.
  const counts = {};
  const answer = provider.callback();
  http.on('request', (request, response) => {
    const path = request.url.split('?')[0];
    if (path === '/-/counts') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(counts));
      return;
    }
    counts[path] = (counts[path] ?? 0) + 1;
    if (path.startsWith('/-/device/')) {
      hurried(request, response);
      return;
    }
    answer(request, response);
  });

  process.stdout.write(`${JSON.stringify({
    issuer,
    token_url: `${issuer}/token`,
    jwks_url: `${issuer}/jwks`,
    resources: Object.keys(RESOURCES),
    clients: CLIENTS.map(({ client_id, client_secret, token_endpoint_auth_method }) => (
      { id: client_id, secret: client_secret, auth: token_endpoint_auth_method })),
  })}\n`);
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
