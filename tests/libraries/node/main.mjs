// @azure/msal-node and @azure/identity: a client secret, a user's password, and a token that is refreshed.
import { ConfidentialClientApplication, PublicClientApplication } from "@azure/msal-node";
import { ClientSecretCredential } from "@azure/identity";

const { ENTRA_AUTHORITY, TENANT, GATEWAY, API_APP, CALLER_APP, CALLER_SECRET, PUBLIC_APP, USER_NAME, USER_PASSWORD } = process.env;
const scopes = [`api://${API_APP}/.default`];
const authority = `${ENTRA_AUTHORITY}/${TENANT}`;
const knownAuthorities = [new URL(ENTRA_AUTHORITY).host];

async function call(what, token) {
  const answer = await fetch(`${GATEWAY}/order-created`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: '{"order":7}',
  });
  await answer.text();
  console.log(what, answer.status);
}

const application = new ConfidentialClientApplication({ auth: { clientId: CALLER_APP, clientSecret: CALLER_SECRET, authority, knownAuthorities } });
await call("msal-node client-secret", (await application.acquireTokenByClientCredential({ scopes })).accessToken);

const user = new PublicClientApplication({ auth: { clientId: PUBLIC_APP, authority, knownAuthorities } });
const signedIn = await user.acquireTokenByUsernamePassword({ scopes, username: USER_NAME, password: USER_PASSWORD });
await call("msal-node password", signedIn.accessToken);
const refreshed = await user.acquireTokenSilent({ scopes, account: signedIn.account, forceRefresh: true });
await call("msal-node refresh", refreshed.accessToken);

const credential = new ClientSecretCredential(TENANT, CALLER_APP, CALLER_SECRET, { authorityHost: ENTRA_AUTHORITY, disableInstanceDiscovery: true });
await call("azure-identity client-secret", (await credential.getToken(scopes)).token);
