// JDK HttpClient: refused and good calls in turn over kept connections. Arguments: the gateway's address and a key.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

public class Keep {
    static final HttpClient CLIENT = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    static int post(String url, String key, byte[] body) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).POST(BodyPublishers.ofByteArray(body));
        if (key != null) {
            request.header("X-Api-Key", key);
        }
        return CLIENT.send(request.build(), BodyHandlers.ofString()).statusCode();
    }

    public static void main(String[] arguments) throws Exception {
        for (int size : new int[] {10, 300, 10_000, 100_000}) {
            byte[] body = new byte[size];
            java.util.Arrays.fill(body, (byte) 'x');
            int refused = 0;
            int good = 0;
            for (int round = 0; round < 20; round++) {
                try {
                    int status = round % 2 == 0
                        ? post(arguments[0] + "/stub", null, body)
                        : post(arguments[0] + "/nowhere", arguments[1], body);
                    refused += status == (round % 2 == 0 ? 401 : 404) ? 1 : 0;
                } catch (Exception error) {
                    System.err.println(size + " refused: " + error);
                }
                try {
                    good += post(arguments[0] + "/stub", arguments[1], body) == 200 ? 1 : 0;
                } catch (Exception error) {
                    System.err.println(size + " good: " + error);
                }
            }
            System.out.println(size + " refused " + refused + " good " + good);
        }
    }
}
