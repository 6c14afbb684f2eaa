//! Secrets as people and programs write them, for tests: every kind with a text around it.

/// One secret in a text.
#[derive(Debug, Clone, Copy)]
pub struct Planted {
    /// What it is.
    pub kind: &'static str,
    /// The text that holds it.
    pub text: &'static str,
    /// What must not be stored.
    pub secret: &'static str,
}

/// More than fifty kinds.
pub const PLANTED: &[Planted] = &[
    Planted {
        kind: "an address of a mirror",
        text: "deb https://bob:Xq7planted01@deb.example.org/debian stable main",
        secret: "Xq7planted01",
    },
    Planted {
        kind: "an address with a token",
        text: "https://Xq7planted02tokenlong@git.example.org/r.git",
        secret: "Xq7planted02tokenlong",
    },
    Planted { kind: "a proxy", text: "Acquire::http::Proxy \"http://u:Xq7planted03@proxy:3128\";", secret: "Xq7planted03" },
    Planted { kind: "a database's address", text: "postgres://app:Xq7planted04@db/prod", secret: "Xq7planted04" },
    Planted { kind: "a queue's address", text: "amqp://app:Xq7planted05@mq:5672/", secret: "Xq7planted05" },
    Planted { kind: "a query's token", text: "GET /dl?access_token=Xq7planted06&x=1", secret: "Xq7planted06" },
    Planted { kind: "a query's signature", text: "https://s3.example.org/x?X-Amz-Signature=Xq7planted07&y=2", secret: "Xq7planted07" },
    Planted { kind: "a query's key", text: "https://maps.example.org/?api_key=Xq7planted08", secret: "Xq7planted08" },
    Planted { kind: "bearer", text: "Authorization: Bearer Xq7planted09", secret: "Xq7planted09" },
    Planted { kind: "basic", text: "authorization: Basic WHE3cGxhbnRlZDEw", secret: "WHE3cGxhbnRlZDEw" },
    Planted { kind: "a proxy's header", text: "Proxy-Authorization: Digest username=\"Xq7planted11\"", secret: "Xq7planted11" },
    Planted { kind: "a cookie", text: "Cookie: session=Xq7planted12; a=b", secret: "Xq7planted12" },
    Planted { kind: "a new cookie", text: "Set-Cookie: id=Xq7planted13; HttpOnly", secret: "Xq7planted13" },
    Planted { kind: "curl's header", text: "curl -H 'X-Api-Key: Xq7planted14' https://x", secret: "Xq7planted14" },
    Planted { kind: "curl's user", text: "curl -u bob:Xq7planted15 https://x", secret: "Xq7planted15" },
    Planted { kind: "curl's proxy user", text: "curl --proxy-user bob:Xq7planted16 https://x", secret: "Xq7planted16" },
    Planted { kind: "bearer in a sentence", text: "called with bearer Xq7planted17 twice", secret: "Xq7planted17" },
    Planted { kind: "apt's auth.conf", text: "machine deb.example.org login bob password Xq7planted18", secret: "Xq7planted18" },
    Planted { kind: "netrc", text: "machine x\tlogin bob\tpassword\tXq7planted19", secret: "Xq7planted19" },
    Planted {
        kind: "a debconf answer",
        text: "mysql-server mysql-server/root_password password Xq7planted20 with spaces Xq7planted20",
        secret: "Xq7planted20",
    },
    Planted { kind: "a variable", text: "export DB_PASSWORD=Xq7planted21", secret: "Xq7planted21" },
    Planted { kind: "a quoted variable", text: "PGPASSWORD='Xq7planted22 and more' psql", secret: "Xq7planted22" },
    Planted { kind: "a short variable", text: "MYSQL_PWD=Xq7planted23", secret: "Xq7planted23" },
    Planted { kind: "a cloud's secret", text: "AWS_SECRET_ACCESS_KEY=Xq7planted24", secret: "Xq7planted24" },
    Planted { kind: "a cloud's key", text: "id AKIAXQ7PLANTED250000 used", secret: "AKIAXQ7PLANTED250000" },
    Planted { kind: "a flag", text: "tool --password Xq7planted26 --go", secret: "Xq7planted26" },
    Planted { kind: "a flag with =", text: "tool --db-token=Xq7planted27", secret: "Xq7planted27" },
    Planted { kind: "sshpass", text: "sshpass -p Xq7planted28 ssh host", secret: "Xq7planted28" },
    Planted { kind: "mysql", text: "mysql -uroot -pXq7planted29 db", secret: "Xq7planted29" },
    Planted { kind: "JSON", text: "{\"password\": \"Xq7planted30\", \"a\": 1}", secret: "Xq7planted30" },
    Planted { kind: "JSON in one word", text: "{\"client_secret\":\"Xq7planted31\"}", secret: "Xq7planted31" },
    Planted { kind: "YAML", text: "  passphrase: Xq7planted32", secret: "Xq7planted32" },
    Planted { kind: "XML", text: "<password>Xq7planted33</password>", secret: "Xq7planted33" },
    Planted { kind: "Ruby", text: ":api_key => 'Xq7planted34'", secret: "Xq7planted34" },
    Planted { kind: "INI", text: "secret = Xq7planted35", secret: "Xq7planted35" },
    Planted { kind: "a connection string", text: "Server=db;User=sa;Pwd=Xq7planted36;", secret: "Xq7planted36" },
    Planted { kind: "a comment", text: "the new root password is Xq7planted37, remember", secret: "Xq7planted37" },
    Planted { kind: "a comment in the past", text: "old passphrase was Xq7planted38", secret: "Xq7planted38" },
    Planted { kind: "a code host's token", text: "with ghp_Xq7planted39abcdefghijklmn now", secret: "ghp_Xq7planted39abcdefghijklmn" },
    Planted { kind: "a code host's new token", text: "github_pat_Xq7planted40abcdefghij", secret: "github_pat_Xq7planted40abcdefghij" },
    Planted { kind: "another code host's token", text: "glpat-Xq7planted41abcd", secret: "glpat-Xq7planted41abcd" },
    Planted { kind: "a chat's token", text: "xoxb-Xq7planted42-abcdef", secret: "xoxb-Xq7planted42-abcdef" },
    Planted { kind: "a payment's key", text: "sk_live_Xq7planted43abc", secret: "sk_live_Xq7planted43abc" },
    Planted { kind: "a map's key", text: "AIzaXq7planted44abcdefghijklmnopqrs", secret: "AIzaXq7planted44abcdefghijklmnopqrs" },
    Planted { kind: "a vault's token", text: "hvs.Xq7planted45abcdef", secret: "hvs.Xq7planted45abcdef" },
    Planted { kind: "a registry's token", text: "npm_Xq7planted46abcdefghij", secret: "npm_Xq7planted46abcdefghij" },
    Planted {
        kind: "a signed token",
        text: "eyJhbGciOiJIUzI1NiJ9.Xq7planted47.abcdefghij",
        secret: "eyJhbGciOiJIUzI1NiJ9.Xq7planted47.abcdefghij",
    },
    Planted { kind: "a shadow line", text: "bob:$6$Xq7planted48$abcdefghijkl:19000:0", secret: "$6$Xq7planted48$abcdefghijkl" },
    Planted { kind: "a modern hash", text: "$y$j9T$Xq7planted49$abcdefghijkl", secret: "$y$j9T$Xq7planted49$abcdefghijkl" },
    Planted {
        kind: "a private key",
        text: "-----BEGIN RSA PRIVATE KEY-----\nXq7planted50\n-----END RSA PRIVATE KEY-----",
        secret: "Xq7planted50",
    },
    Planted {
        kind: "an OpenSSH key",
        text: "-----BEGIN OPENSSH PRIVATE KEY-----\nXq7planted51\n-----END OPENSSH PRIVATE KEY-----",
        secret: "Xq7planted51",
    },
    Planted {
        kind: "a PGP key",
        text: "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nXq7planted52\n-----END PGP PRIVATE KEY BLOCK-----",
        secret: "Xq7planted52",
    },
    Planted { kind: "an age key", text: "AGE-SECRET-KEY-1XQ7PLANTED53ABCD", secret: "AGE-SECRET-KEY-1XQ7PLANTED53ABCD" },
    Planted { kind: "wifi", text: "wpa-psk: Xq7planted54", secret: "Xq7planted54" },
];
