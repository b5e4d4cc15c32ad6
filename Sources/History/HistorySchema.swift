internal import GRDB

/// The tables, and the migrations from earlier versions.
///
/// `lookup` is only appended to and has no index; searches use `block`, which has the searchable columns of a few
/// thousand consecutive lookups, packed (`ColumnBlock`). Frequent texts are stored once, in tables of their own. The
/// view `lookups` shows everything to users of sqlite3.
enum HistorySchema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { database in try database.execute(sql: first) }
        return migrator
    }

    /// We assign identifiers and never reuse them: `state` has the last one even when its lookup is deleted.
    private static let first = """
        CREATE TABLE lookup (
            id INTEGER PRIMARY KEY,
            time INTEGER NOT NULL,
            number INTEGER NOT NULL,
            facet INTEGER NOT NULL,
            client INTEGER NOT NULL,
            name INTEGER NOT NULL,
            port INTEGER NOT NULL,
            flags INTEGER NOT NULL,
            marks INTEGER NOT NULL,
            duration INTEGER NOT NULL,
            file INTEGER,
            line INTEGER,
            upstream INTEGER,
            upstream_us INTEGER,
            ede INTEGER,
            ede_text TEXT,
            payload INTEGER,
            question INTEGER,
            answers INTEGER,
            hops BLOB,
            message BLOB
        );
        CREATE TABLE facet (
            id INTEGER PRIMARY KEY,
            source INTEGER NOT NULL, type INTEGER NOT NULL, class INTEGER NOT NULL, code INTEGER NOT NULL,
            kind INTEGER NOT NULL, transport INTEGER NOT NULL, asked INTEGER NOT NULL,
            source_word TEXT, type_word TEXT, class_word TEXT, rcode_word TEXT, transport_word TEXT,
            UNIQUE (type, source, class, code, kind, transport, asked)
        );
        CREATE TABLE client (
            id INTEGER PRIMARY KEY,
            address TEXT NOT NULL, pid INTEGER NOT NULL, command TEXT NOT NULL,
            UNIQUE (address, pid, command)
        );
        CREATE TABLE name (id INTEGER PRIMARY KEY, reversed TEXT NOT NULL UNIQUE, text TEXT NOT NULL);
        CREATE TABLE file (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
        CREATE TABLE upstream (id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE);
        CREATE TABLE block (
            first INTEGER PRIMARY KEY,
            count INTEGER NOT NULL, earliest INTEGER NOT NULL, latest INTEGER NOT NULL,
            facets BLOB NOT NULL, clients BLOB NOT NULL, names BLOB NOT NULL
        );
        CREATE TABLE loss (
            id INTEGER PRIMARY KEY,
            after INTEGER NOT NULL, time INTEGER NOT NULL, until INTEGER NOT NULL,
            count INTEGER NOT NULL, reason TEXT NOT NULL
        );
        CREATE INDEX loss_after ON loss (after);
        CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

        CREATE VIEW lookups AS SELECT
            lookup.id,
            strftime('%Y-%m-%dT%H:%M:%S', time / 1000000, 'unixepoch') || printf('.%06dZ', time % 1000000) AS time,
            client.address, port,
            nullif(client.pid, 0) AS pid, nullif(client.command, '') AS command,
            transport_word AS transport,
            CASE WHEN asked THEN name.text END AS name, type_word AS type, class_word AS class,
            source_word AS source,
            CASE WHEN line > 0 THEN file.path || ':' || line ELSE file.path END AS rule,
            rcode_word AS rcode,
            upstream.address AS upstream, upstream_us,
            duration AS duration_us,
            ede AS ede_code, ede_text,
            answers, number
        FROM lookup
            LEFT JOIN facet ON facet.id = lookup.facet
            LEFT JOIN client ON client.id = lookup.client
            LEFT JOIN name ON name.id = lookup.name
            LEFT JOIN file ON file.id = lookup.file
            LEFT JOIN upstream ON upstream.id = lookup.upstream;
        """
}
