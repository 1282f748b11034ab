"""msal and azure-identity with a client secret. msal asks for a user's realm at port 443 whatever the authority's port, so a password cannot be tried here."""

import os

import msal
import requests
from azure.identity import ClientSecretCredential

AUTHORITY, TENANT, GATEWAY = os.environ["ENTRA_AUTHORITY"], os.environ["TENANT"], os.environ["GATEWAY"]
SCOPE = f"api://{os.environ['API_APP']}/.default"


def call(what, token):
    answer = requests.post(f"{GATEWAY}/order-created", json={"order": 7}, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    print(what, answer.status_code, flush=True)


def token_of(result):
    if "access_token" not in result:
        raise SystemExit(f"no token: {result.get('error')} {result.get('error_codes')}")
    return result["access_token"]


application = msal.ConfidentialClientApplication(
    os.environ["CALLER_APP"], authority=f"{AUTHORITY}/{TENANT}", client_credential=os.environ["CALLER_SECRET"], instance_discovery=False
)
call("msal client-secret", token_of(application.acquire_token_for_client([SCOPE])))

credential = ClientSecretCredential(
    TENANT, os.environ["CALLER_APP"], os.environ["CALLER_SECRET"], authority=AUTHORITY, disable_instance_discovery=True
)
call("azure-identity client-secret", credential.get_token(SCOPE).token)
