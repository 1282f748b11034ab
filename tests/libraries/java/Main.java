// msal4j: a client secret, and a user's password. It refreshes at port 443 whatever the authority's port, so that is not tried here.
import com.microsoft.aad.msal4j.ClientCredentialFactory;
import com.microsoft.aad.msal4j.ClientCredentialParameters;
import com.microsoft.aad.msal4j.ConfidentialClientApplication;
import com.microsoft.aad.msal4j.IAuthenticationResult;
import com.microsoft.aad.msal4j.PublicClientApplication;
import com.microsoft.aad.msal4j.UserNamePasswordParameters;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Set;

public class Main {
    static String env(String name) {
        return System.getenv(name);
    }

    static void call(String what, IAuthenticationResult token) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(env("GATEWAY") + "/order-created"))
                .header("Authorization", "Bearer " + token.accessToken())
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString("{\"order\":7}"))
                .build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(what + " " + answer.statusCode());
    }

    public static void main(String[] arguments) throws Exception {
        var authority = env("ENTRA_AUTHORITY") + "/" + env("TENANT") + "/";
        var scopes = Set.of("api://" + env("API_APP") + "/.default");
        var application = ConfidentialClientApplication
                .builder(env("CALLER_APP"), ClientCredentialFactory.createFromSecret(env("CALLER_SECRET")))
                .authority(authority).validateAuthority(false).instanceDiscovery(false).build();
        call("msal4j client-secret", application.acquireToken(ClientCredentialParameters.builder(scopes).build()).get());
        var user = PublicClientApplication.builder(env("PUBLIC_APP"))
                .authority(authority).validateAuthority(false).instanceDiscovery(false).build();
        var password = UserNamePasswordParameters.builder(scopes, env("USER_NAME"), env("USER_PASSWORD").toCharArray()).build();
        call("msal4j password", user.acquireToken(password).get());
        System.exit(0);
    }
}
