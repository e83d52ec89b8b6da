-- The catalogue: what a library knows of its photos, and their vectors.
-- Paths are the file system's own bytes (names need not be UTF-8); `name` is for people.

create table model (
  id integer primary key autoincrement,
  name text not null,
  fingerprint text not null,   -- other weights under the same name are another model
  dimensions integer not null,
  logit_scale real not null,
  logit_bias real,
  added_at text not null,
  unique (name, fingerprint)
) strict;

create table archive (
  id integer primary key check (id = 1),
  uuid text not null,
  revision integer not null default 0,   -- moves with every change of photos or vectors
  model_id integer references model (id),   -- the model that answers searches
  created_at text not null
) strict;

create table root (
  id integer primary key autoincrement,
  path blob not null unique,   -- absolute, links resolved
  device integer,              -- st_dev: an empty mount point is not an emptied folder
  added_at text not null
) strict;

create table photo (
  id integer primary key autoincrement,   -- never reused
  root_id integer not null references root (id) on delete cascade,
  path blob not null,          -- relative to the root
  name text not null,
  size integer not null,
  mtime_ns integer not null,
  content_hash blob not null,  -- SHA-256 of the file
  format text not null,
  width integer not null,
  height integer not null,
  orientation integer not null,
  taken_at text,
  camera_make text,
  camera_model text,
  lens text,
  latitude real,
  longitude real,
  altitude real,
  rating integer,
  description text,
  indexed_at text not null,
  unique (root_id, path)
) strict;

create index photo_content_hash on photo (content_hash);
create index photo_taken_at on photo (taken_at);

create table keyword (
  photo_id integer not null references photo (id) on delete cascade,
  position integer not null,
  keyword text not null,
  primary key (photo_id, position)
) strict, without rowid;

create table vector (
  photo_id integer not null references photo (id) on delete cascade,
  model_id integer not null references model (id) on delete cascade,
  vector blob not null,        -- little-endian float16, unit length
  primary key (model_id, photo_id)
) strict;

create index vector_photo on vector (photo_id);

create table skipped (
  root_id integer not null references root (id) on delete cascade,
  path blob not null,
  size integer,
  mtime_ns integer,
  reason text not null,
  decoder text,                -- the decoder that gave up; null: try again on every run
  primary key (root_id, path)
) strict, without rowid;

create trigger photo_inserted after insert on photo begin
  update archive set revision = revision + 1;
end;
create trigger photo_updated after update on photo begin
  update archive set revision = revision + 1;
end;
create trigger photo_deleted after delete on photo begin
  update archive set revision = revision + 1;
end;
create trigger vector_inserted after insert on vector begin
  update archive set revision = revision + 1;
end;
create trigger vector_updated after update on vector begin
  update archive set revision = revision + 1;
end;
create trigger vector_deleted after delete on vector begin
  update archive set revision = revision + 1;
end;
create trigger archive_model_switched after update of model_id on archive begin
  update archive set revision = revision + 1;
end;
