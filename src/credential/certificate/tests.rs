//! Certificates and keys as OpenSSL's command line writes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tempfile::TempDir;

use super::*;
use crate::secret::Source;
use settings::Environment;
use testkit::certificate::{KeyKind, application_until};

/// A folder in which OpenSSL works.
struct Workshop(TempDir);

impl Workshop {
    /// With a certificate `app.crt` of the key `app.key`, of an intermediate `ca.crt`, of a root `root.crt`; each key as `key` says.
    fn open(key: &str) -> Self {
        let shop = Self(tempfile::tempdir().unwrap());
        for name in ["root", "ca", "app"] {
            shop.run(&format!("genpkey {key} -out {name}.key"));
        }
        shop.run("req -x509 -key root.key -subj /CN=root -days 400 -out root.crt");
        shop.signed("ca", "root");
        shop.signed("app", "ca");
        shop
    }

    fn rsa() -> Self {
        Self::open("-algorithm RSA -pkeyopt rsa_keygen_bits:2048")
    }

    fn signed(&self, name: &str, by: &str) {
        self.run(&format!(
            "req -new -key {name}.key -subj /CN={name} -out {name}.csr"
        ));
        self.run(&format!(
            "x509 -req -in {name}.csr -CA {by}.crt -CAkey {by}.key -CAcreateserial -days 100 -out {name}.crt"
        ));
    }

    /// Runs `openssl`; `''` represents an empty argument.
    fn run(&self, arguments: &str) {
        let arguments = arguments
            .split_whitespace()
            .map(|one| one.trim_matches('\''));
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("this test needs the program `openssl`");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn der(&self, name: &str) -> Vec<u8> {
        self.run(&format!("x509 -in {name} -outform DER -out {name}.der"));
        std::fs::read(self.path(&format!("{name}.der"))).unwrap()
    }

    fn write(&self, name: &str, parts: &[&str]) {
        let text: Vec<String> = parts.iter().map(|part| self.text(part)).collect();
        std::fs::write(self.path(name), text.concat()).unwrap();
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn read(&self, name: &str, passphrase: Option<&str>) -> Result<Certified, Invalid> {
        Certified::read(&any(&self.path(name)), passphrase)
    }
}

/// As the configuration reads the file.
fn any(path: &Path) -> String {
    let environment = Environment::fixed([("A", "b")]);
    let text = Source::File(path.to_owned()).read_any(&environment);
    text.unwrap().expose().clone()
}

/// The public key of a certificate verifies what its key signed.
fn verifies(certified: &Certified, how: &'static dyn VerificationAlgorithm, by: Algorithm) -> bool {
    let (_, leaf) = X509Certificate::from_der(&certified.chain()[0]).unwrap();
    let public = leaf.public_key().subject_public_key.data.to_vec();
    let token = signed(certified, by).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(how, public)
        .verify(message.as_bytes(), &signature)
        .is_ok()
}

fn signed(certified: &Certified, by: Algorithm) -> Option<String> {
    certified.encode(&Header::new(by.into()), &serde_json::json!({ "a": 1 }))
}

#[test]
fn pem_in_any_order_is_a_chain_with_the_keys_own_certificate_first() {
    let shop = Workshop::rsa();
    shop.run("rsa -in app.key -traditional -out pkcs1.key");
    shop.write("a.pem", &["app.key", "app.crt", "ca.crt", "root.crt"]);
    shop.write("b.pem", &["root.crt", "ca.crt", "app.crt", "pkcs1.key"]);
    let whole = ["app.crt", "ca.crt", "root.crt"].map(|name| shop.der(name));
    for name in ["a.pem", "b.pem"] {
        let read = shop.read(name, None).unwrap();
        assert_eq!(read.chain(), whole, "{name}");
        assert!(read.rsa() && read.signs(Algorithm::Ps256) && !read.signs(Algorithm::Es256));
        assert!(verifies(&read, &RSA_PSS_2048_8192_SHA256, Algorithm::Ps256));
        assert!(verifies(
            &read,
            &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs256
        ));
        assert_eq!(signed(&read, Algorithm::Es256), None);
    }
    shop.write("other.pem", &["app.key", "app.crt", "root.crt"]);
    let read = shop.read("other.pem", None).unwrap();
    assert_eq!(read.chain(), &whole[..1], "who signed it is not there");
}

#[test]
fn the_expiry_is_the_certificates_own() {
    let text = application_until(KeyKind::Ec, 2030, 1, 2);
    let read = Certified::read(&text, None).unwrap();
    assert_eq!(read.expires(), Some(1_893_542_400));
}

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    let shop = Workshop::rsa();
    shop.run("pkcs8 -topk8 -in app.key -out shut.key -passout pass:geheim-ü");
    shop.write("shut.pem", &["app.crt", "shut.key"]);
    assert!(shop.read("shut.pem", Some("geheim-ü")).is_ok());
    let failed = |passphrase| shop.read("shut.pem", passphrase).err().unwrap();
    assert_eq!(failed(None), Invalid::NoPassphrase);
    assert_eq!(failed(Some("")), Invalid::Passphrase);
    assert_eq!(failed(Some("geheim")), Invalid::Passphrase);
    shop.run("rsa -in app.key -traditional -aes128 -passout pass:a -out old.key");
    shop.write("old.pem", &["app.crt", "old.key"]);
    let old = shop.read("old.pem", Some("a")).err().unwrap();
    assert_eq!(old, Invalid::OldEncryption);
}

#[test]
fn pkcs12_is_read_as_openssl_writes_it_now_and_wrote_it_before() {
    let shop = Workshop::rsa();
    shop.write("chain.crt", &["root.crt", "ca.crt"]);
    let whole = ["app.crt", "ca.crt", "root.crt"].map(|name| shop.der(name));
    for (number, (options, passphrase)) in [
        ("-passout pass:geheim", Some("geheim")),
        ("-passout pass:", None),
        ("-passout pass:", Some("")),
        ("-passout pass:grüße", Some("grüße")),
        ("-legacy -passout pass:geheim", Some("geheim")),
        ("-legacy -passout pass:", None),
        (
            "-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1 -passout pass:geheim",
            Some("geheim"),
        ),
        (
            "-keypbe AES-256-CBC -certpbe NONE -passout pass:a",
            Some("a"),
        ),
        ("-macalg sha512 -iter 100000 -passout pass:a", Some("a")),
        ("-nomac -passout pass:a", Some("a")),
        ("-name friendly -passout pass:a", Some("a")),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{number}.pfx");
        shop.run(&format!(
            "pkcs12 -export -inkey app.key -in app.crt -certfile chain.crt {options} -out {name}"
        ));
        let read = shop.read(&name, passphrase);
        let read = read.unwrap_or_else(|error| panic!("{options}: {error}"));
        assert_eq!(read.chain(), whole, "{options}");
        assert!(verifies(&read, &RSA_PSS_2048_8192_SHA256, Algorithm::Ps256));
    }
}

#[test]
fn pkcs12_in_base64_is_read_as_key_vault_gives_it() {
    let shop = Workshop::rsa();
    shop.run("pkcs12 -export -inkey app.key -in app.crt -passout pass: -out a.pfx");
    shop.run("base64 -in a.pfx -out lines.txt");
    shop.run("base64 -A -in a.pfx -out line.txt");
    for name in ["lines.txt", "line.txt"] {
        assert_eq!(shop.read(name, None).unwrap().chain().len(), 1, "{name}");
    }
    let unpadded = shop.text("line.txt").trim_end_matches('=').to_owned();
    assert!(Certified::read(&unpadded, None).is_ok());
}

#[test]
fn what_does_not_hold_both_or_does_not_fit_is_distinguished() {
    let shop = Workshop::rsa();
    shop.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out short.key");
    shop.run("req -x509 -key short.key -subj /CN=a -days 9 -out short.crt");
    shop.run("genpkey -algorithm ED25519 -out ed.key");
    shop.run("pkcs12 -export -inkey app.key -in app.crt -passout pass:geheim -out a.pfx");
    shop.run("pkcs12 -export -nokeys -in app.crt -passout pass:a -out cert.pfx");
    shop.run("pkcs12 -export -nocerts -inkey app.key -passout pass:a -out key.pfx");
    shop.write("mixed.pem", &["ca.key", "app.crt"]);
    shop.write("short.pem", &["short.key", "short.crt"]);
    shop.write("ed.pem", &["ed.key", "app.crt"]);
    std::fs::write(shop.path("text"), "not a certificate").unwrap();
    std::fs::write(shop.path("cut"), &shop.text("app.crt")[..200]).unwrap();
    std::fs::write(shop.path("binary"), [0x30, 0x82, 0xff, 0xfe]).unwrap();
    for (name, passphrase, wanted) in [
        ("app.crt", None, Invalid::NoKey),
        ("app.key", None, Invalid::NoCertificate),
        ("cert.pfx", Some("a"), Invalid::NoKey),
        ("key.pfx", Some("a"), Invalid::NoCertificate),
        ("mixed.pem", None, Invalid::Mismatch),
        ("short.pem", None, Invalid::Key),
        ("ed.pem", None, Invalid::Key),
        ("a.pfx", Some("wrong"), Invalid::Passphrase),
        ("a.pfx", None, Invalid::Passphrase),
        ("text", None, Invalid::Format),
        ("cut", None, Invalid::Format),
        ("binary", None, Invalid::Format),
    ] {
        assert_eq!(shop.read(name, passphrase).err(), Some(wanted), "{name}");
    }
}

#[test]
fn an_ec_key_on_p256_signs_as_a_jws_wants_it() {
    let shop = Workshop::open("-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    shop.run("ecparam -name prime256v1 -genkey -out sec1.key");
    shop.run("req -x509 -key sec1.key -subj /CN=a -days 9 -out sec1.crt");
    shop.write("pkcs8.pem", &["app.key", "app.crt"]);
    shop.write("sec1.pem", &["sec1.key", "sec1.crt"]);
    for name in ["pkcs8.pem", "sec1.pem"] {
        let read = shop.read(name, None).unwrap();
        assert!(!read.rsa() && read.signs(Algorithm::Es256) && !read.signs(Algorithm::Ps256));
        assert!(
            verifies(&read, &ECDSA_P256_SHA256_FIXED, Algorithm::Es256),
            "{name}"
        );
        assert_eq!(signed(&read, Algorithm::Ps256), None);
    }
    shop.run("ecparam -name secp384r1 -genkey -out p384.key");
    shop.run("req -x509 -key p384.key -subj /CN=a -days 9 -out p384.crt");
    shop.write("p384.pem", &["p384.key", "p384.crt"]);
    assert_eq!(shop.read("p384.pem", None).err(), Some(Invalid::Key));
}
