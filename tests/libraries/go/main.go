// azidentity: a client secret, and a user's password.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func call(what string, credential azcore.TokenCredential) {
	scopes := []string{"api://" + os.Getenv("API_APP") + "/.default"}
	token := must(credential.GetToken(context.Background(), policy.TokenRequestOptions{Scopes: scopes}))
	request := must(http.NewRequest("POST", os.Getenv("GATEWAY")+"/order-created", strings.NewReader(`{"order":7}`)))
	request.Header.Set("Authorization", "Bearer "+token.Token)
	request.Header.Set("Content-Type", "application/json")
	answer := must(http.DefaultClient.Do(request))
	answer.Body.Close()
	fmt.Println(what, answer.StatusCode)
}

func main() {
	options := policy.ClientOptions{Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: os.Getenv("ENTRA_AUTHORITY")}}
	tenant := os.Getenv("TENANT")
	call("azidentity client-secret", must(azidentity.NewClientSecretCredential(tenant, os.Getenv("CALLER_APP"), os.Getenv("CALLER_SECRET"),
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})))
	//lint:ignore SA1019 the grant is what is tried
	call("azidentity password", must(azidentity.NewUsernamePasswordCredential(tenant, os.Getenv("PUBLIC_APP"), os.Getenv("USER_NAME"), os.Getenv("USER_PASSWORD"),
		&azidentity.UsernamePasswordCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})))
}
