-- What its registry calls the content of the image that a sandbox was made of, `sha256:…`: a tag may mean something else by now.
ALTER TABLE sandboxes ADD COLUMN image_digest TEXT;
